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
from ignition_ext.ledger.legs import (
    cancelled_legs,
    is_under_way,
    set_flow_run,
    unstarted_legs,
)
from ignition_ext.ledger.revival import CONTINUED, take_revival
from ignition_ext.ledger.run_rows import read_run, run_ref
from ignition_ext.ledger.runs import mirror
from ignition_ext.models import CampaignRun
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.deployments import FLOW, find_deployment
from ignition_ext.orchestration.mirror import campaign_of
from ignition_ext.orchestration.runs import ask_to_cancel
from ignition_ext.values import Channel, RunState

KEY = "ignition-leg"
"""What the idempotency key of a companion's flow run begins with: one flow run a companion."""
AT_ONCE = 200
"""Companions that are looked after at once; the rest waits for the next minute."""


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
    if known.deployment_id is None:
        return await _make(database, client, leg)  # no worker would take that one again
    if not await take_revival(
        database, leg, becomes="Scheduled", reason=reason, actor=actor, action=CONTINUED
    ):
        return False
    await client.set_flow_run_state(known.id, Scheduled(message=reason), force=True)
    return True


async def start_waiting_legs(
    database: Database, client: PrefectClient, *, actor: str
) -> dict[str, str]:
    """Start the companions that have their audience and no flow run; what was done, by name.

    One whose lead is worked on without a deployment is left to that, as long as it goes on.
    """
    async with database.read() as session:
        waiting = await unstarted_legs(session, limit=AT_ONCE)
        leads = {leg.id: await read_run(session, leg.lead_run_id or leg.id) for leg in waiting}
    done: dict[str, str] = {}
    for leg in waiting:
        lead = leads[leg.id]
        if is_under_way(lead) and await _is_worked_on_here(client, lead.flow_run_id):
            continue
        try:
            if await start_leg(database, client, leg.id, reason="it waited", actor=actor):
                done[leg.flow_run_name] = "its second channel was started"
        except ConfigurationError as error:
            done[leg.flow_run_name] = f"{error.message} {error.mend}"
    return done


async def end_cancelled_legs(database: Database, client: PrefectClient) -> dict[str, str]:
    """Tell Prefect of companions that were cancelled with their leads; what was done, by name."""
    async with database.read() as session:
        legs = await cancelled_legs(session, limit=AT_ONCE)
    done: dict[str, str] = {}
    for leg in legs:
        known = await _flow_run(client, leg.flow_run_id)
        if known is None or known.state is None or known.state.is_final():
            ended = known.state.timestamp if known is not None and known.state else utc_now()
            name = known.state_name if known is not None else leg.prefect_state
            await mirror(database, run_ref(leg), prefect_state=name or "", ended_at=ended)
        elif not known.state.is_cancelling():
            await ask_to_cancel(client, known.id)
            done[leg.flow_run_name] = "cancelled with the run that leads it"
    return done


async def _is_worked_on_here(client: PrefectClient, flow_run_id: UUID | None) -> bool:
    known = await _flow_run(client, flow_run_id)
    return (
        known is not None
        and known.deployment_id is None
        and known.state is not None
        and not known.state.is_final()
    )


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
