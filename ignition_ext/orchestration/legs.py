"""Asks Prefect for the flow runs that the second channels of runs need; repeated without harm."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger.legs import set_flow_run
from ignition_ext.ledger.revival import take_revival
from ignition_ext.ledger.run_rows import read_run, run_ref
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.deployments import FLOW, find_deployment
from ignition_ext.orchestration.mirror import campaign_of
from ignition_ext.values import Channel, RunState

KEY = "ignition-leg"
"""What the idempotency key of a companion's flow run begins with: one flow run a companion."""
CONTINUED = "run.continued"


def leg_deployment(channel: Channel) -> str:
    """The deployment that companions of a channel run from, on that channel's work pool."""
    return f"{FLOW}/{channel}"


async def start_leg(
    database: Database, client: PrefectClient, run_id: UUID, *, reason: str, actor: str
) -> bool:
    """Let a flow run work on a companion: make it, or start the one again that has ended.

    Several at once, and one after a crash in the middle, end with one flow run.

    Args:
        database: Ignition's.
        client: of the Prefect server.
        run_id: the companion's.
        reason: why a run that had ended goes on.
        actor: for the audit log.

    Returns:
        Whether it was started; one that goes on by itself, or was cancelled, needs no start.

    Raises:
        ConfigurationError: the deployment is missing.
    """
    async with database.read() as session:
        leg = await read_run(session, run_id)
    if leg.state in (RunState.CANCELLED, RunState.SKIPPED):
        return False
    known = await _flow_run(client, leg.flow_run_id)
    if known is None:
        return await _make(database, client, leg)
    if known.state is None or not known.state.is_final():
        return False
    if not await take_revival(
        database, leg, becomes="Scheduled", reason=reason, actor=actor, action=CONTINUED
    ):
        return False
    await client.set_flow_run_state(known.id, Scheduled(message=reason), force=True)
    return True


async def _make(database: Database, client: PrefectClient, leg: CampaignRun) -> bool:
    channel = Channel(leg.channel)
    deployment = await find_deployment(client, channel.value)
    if deployment is None:
        raise ConfigurationError(
            f"there is no deployment {leg_deployment(channel)}, so nobody sends the {channel}"
            f" messages of the run {leg.id}.",
            mend="Run: prefect deploy --all. The flow reconcile starts them within a minute then.",
        )
    async with database.read() as session:
        lead = await read_run(session, leg.lead_run_id or leg.id)
    reference, _ = await campaign_of(database, leg)
    leading = await _flow_run(client, lead.flow_run_id)
    parameters = CampaignParameters(campaign=reference, leg=leg.id)
    made = await client.create_flow_run_from_deployment(
        deployment.id,
        name=leg.flow_run_name,
        parameters={"parameters": parameters.model_dump(mode="json", exclude_defaults=True)},
        tags=_tags(reference, channel, leading),
        idempotency_key=f"{KEY}:{leg.id}:{leg.flow_run_id or ''}",
        work_queue_name=leading.work_queue_name if leading is not None else None,
        job_variables=await job_variables(client, leading) or None,
    )
    return await set_flow_run(database, run_ref(leg), made.id, instead_of=leg.flow_run_id)


def _tags(reference: str, channel: Channel, leading: FlowRun | None) -> list[str]:
    """The lead's tags, with the companion's own channel."""
    tenant, _, name = reference.partition("/")
    own = {f"tenant:{tenant}", f"campaign:{name}", f"channel:{channel}"}
    given = leading.tags if leading is not None else []
    return sorted(own | {tag for tag in given if not tag.startswith("channel:")})


async def job_variables(client: PrefectClient, flow_run: FlowRun | None) -> dict[str, Any]:
    """What the operator set for a run's own process; those that work beside it need the same."""
    found: dict[str, Any] = {}
    if flow_run is None:
        return found
    if flow_run.deployment_id is not None:
        try:
            deployment = await client.read_deployment(flow_run.deployment_id)
        except ObjectNotFound:
            pass
        else:
            found |= deployment.job_variables or {}
    return found | dict(flow_run.job_variables or {})


async def _flow_run(client: PrefectClient, key: UUID | None) -> FlowRun | None:
    if key is None:
        return None
    try:
        return await client.read_flow_run(key)
    except ObjectNotFound:
        return None
