"""Lets go the campaigns that come after a run: the database decides, Prefect is told.

Called when a run ends (the flow's hook), and by the flow that reconciles for what no hook saw.
Each may be repeated, on any number of nodes: the database uses an end once, and Prefect makes one
flow run for an idempotency key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from httpx import HTTPStatusError
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed, Scheduled
from pydantic import ValidationError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns import store
from ignition_ext.campaigns.chain import RunEnd
from ignition_ext.campaigns.chain_legs import joint_end
from ignition_ext.campaigns.chain_store import (
    GIVEN_UP_AFTER,
    Decided,
    EndedRun,
    dependents,
    read_graph,
    refuse,
    told,
    unseen_ends,
    untold,
)
from ignition_ext.campaigns.chain_turn import decide
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.database import Database
from ignition_ext.errors import ConflictError
from ignition_ext.ledger.run_rows import RunRequest
from ignition_ext.ledger.skips import skip_run
from ignition_ext.models import Campaign, CampaignRun, ChainArrival, Tenant
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.deployments import deployment_name, find_deployment
from ignition_ext.orchestration.events import CampaignEvent, tell
from ignition_ext.orchestration.mirror import SKIPPED

KEY = "ignition-chain"
"""What the idempotency key of a flow run begins with that was let go: KEY:turn:attempt."""
MOVED = "Moved"
"""The name of the state of type Cancelled of a run that an operator moved to another time."""
ACTOR = "chain"
MENDED_FOR = timedelta(days=1)
"""How long what a crash left undone is made up for; later nobody expects the run any more."""
AT_ONCE = 200
"""Prefect answers at most this many flow runs a request; the rest waits for the next time."""

_ENDS = {
    StateType.COMPLETED: RunEnd.COMPLETED,
    StateType.FAILED: RunEnd.FAILED,
    StateType.CRASHED: RunEnd.FAILED,
    StateType.CANCELLED: RunEnd.CANCELLED,
}


def ended_run(flow_run: FlowRun, state: State[Any]) -> EndedRun | None:
    """The end that a flow run's state is; None for one that nothing comes after.

    That is one that has not ended or was moved to another time, a dry run, and a trial: of the
    latter's few messages nobody concludes that the next campaign may go to everyone.
    """
    end = _ENDS.get(state.type)
    try:
        said = CampaignParameters.model_validate((flow_run.parameters or {}).get("parameters"))
    except ValidationError:
        return None
    if end is None or state.name == MOVED or said.dry_run or said.limit is not None:
        return None
    if state.name == SKIPPED:
        end = RunEnd.SKIPPED
    return EndedRun(
        campaign=said.campaign,
        flow_run_id=flow_run.id,
        end=end,
        reason=state.message or "",
        release_id=_turn_of(flow_run.idempotency_key),
        scheduled_at=flow_run.expected_start_time,
    )


def _turn_of(key: str | None) -> UUID | None:
    prefix, _, rest = (key or "").partition(":")
    return UUID(rest.partition(":")[0]) if prefix == KEY else None


async def let_go(database: Database, client: PrefectClient, run: EndedRun) -> Mapping[str, str]:
    """Make the flow runs of what comes after a run, and of what is skipped with it.

    Of a run with two channels the end of the last counts.

    Returns:
        What became of each campaign, by ``tenant/name``.

    Raises:
        IgnitionError: the database or Prefect is away; what was decided is told Prefect later.
    """
    done: dict[str, str] = {}
    whole = await joint_end(database, run)
    ends = deque([whole] if whole is not None else [])
    while ends:
        for decided in await decide(database, ends.popleft()):
            done[decided.campaign] = await _tell(database, client, decided, ends)
    return done


async def let_go_pending(database: Database, client: PrefectClient) -> Mapping[str, str]:
    """Make up for what a crash, or Prefect's absence, left undone; what was done, by campaign."""
    done: dict[str, str] = {}
    ends: deque[EndedRun] = deque()
    async with database.read() as session:
        left = await untold(session, within=MENDED_FOR, limit=AT_ONCE)
    for decided in left:
        done[decided.campaign] = await _tell(database, client, decided, ends)
    async with database.read() as session:
        ends.extend(await unseen_ends(session, within=MENDED_FOR, limit=AT_ONCE))
    ends.extend(await _never_opened(database, client))
    while ends:
        done |= await let_go(database, client, ends.popleft())
    return done


async def require_no_dependents(session: AsyncSession, reference: str) -> None:
    """Raise unless nothing comes after the campaign.

    Raises:
        ConflictError: campaigns in force would wait for it for ever.
    """
    if waiting := await dependents(session, reference):
        raise ConflictError(
            f"{', '.join(waiting)} {'comes' if len(waiting) == 1 else 'come'} after {reference}.",
            mend=f"Delete that first, or take {reference} out of its `after:` and apply it.",
        )


async def _tell(
    database: Database, client: PrefectClient, decided: Decided, ends: deque[EndedRun]
) -> str:
    """Make the flow run of a turn; a skipped one has ended, and is added to ``ends``."""
    async with database.read() as session:
        stored = await store.find(session, decided.campaign)
    deployment = await find_deployment(client, deployment_name(decided.campaign))
    if stored is None or deployment is None:
        return "not started: it has no deployment; apply its file again"
    if deployment.paused and not decided.skipped:
        decided = await refuse(database, decided, f"{decided.campaign} is paused")
    name = f"{decided.campaign} {_local(decided.due_at, stored.tenant.timezone)}"
    try:
        flow_run = await client.create_flow_run_from_deployment(
            deployment.id,
            name=name,
            tags=[f"chain:{decided.root.hex[-8:]}"],
            idempotency_key=f"{KEY}:{decided.release_id}:{decided.attempt}",
            state=_state(decided),
        )
    except HTTPStatusError as error:
        # One that Prefect refuses must not keep the others waiting.
        return f"not started: Prefect refused it: {error}"
    if decided.skipped:
        await _write_skip(database, stored, decided, flow_run)
        skip = ended_run(flow_run, _state(decided))
        if skip is not None:
            ends.append(skip)
    await told(database, decided, flow_run.id)
    if decided.skipped:
        return f"skipped: {decided.reason}"
    return f"due {decided.due_at:%Y-%m-%d %H:%M:%S} UTC, {decided.reason}"


def _state(decided: Decided) -> State[Any]:
    if decided.skipped:
        return Completed(name=SKIPPED, message=decided.reason)
    return Scheduled(scheduled_time=decided.due_at, message=f"let go: {decided.reason}")


def _local(at: datetime, timezone: str) -> str:
    return f"{at.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M}"


async def _write_skip(
    database: Database, stored: store.StoredCampaign, decided: Decided, flow_run: FlowRun
) -> None:
    assert stored.campaign.id is not None
    request = RunRequest(
        tenant_id=stored.campaign.tenant_id,
        campaign_id=stored.campaign.id,
        campaign_version=stored.version,
        guarantee=stored.definition.delivery.guarantee,
        flow_run_id=flow_run.id,
        flow_run_name=flow_run.name,
        scheduled_at=decided.due_at,
        channel=stored.definition.message_channel,
    )
    row = await skip_run(
        database, request, reason=decided.reason, actor=ACTOR, prefect_state=SKIPPED
    )
    tell(
        CampaignEvent.SKIPPED,
        reference=stored.reference,
        channel=stored.definition.message_channel,
        run_id=row.id,
        flow_run_id=flow_run.id,
        reason=decided.reason,
    )


async def _never_opened(database: Database, client: PrefectClient) -> list[EndedRun]:
    """Ends that only Prefect knows: cancelled before a worker began, or killed at the start.

    A crash counts when the run was not begun again for a while.
    """
    async with database.read() as session:
        parents = await _parents(session)
    if not parents:
        return []
    found = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(parents))),
        flow_run_filter=FlowRunFilter(
            end_time=FlowRunFilterEndTime(after_=utc_now() - MENDED_FOR),
            state=FlowRunFilterState(
                type=FlowRunFilterStateType(
                    any_=[StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
                )
            ),
        ),
        limit=AT_ONCE,
    )
    given_up = utc_now() - GIVEN_UP_AFTER
    ends = [
        end
        for flow_run in found
        if flow_run.state is not None
        and not (flow_run.state.is_crashed() and flow_run.state.timestamp > given_up)
        and (end := ended_run(flow_run, flow_run.state)) is not None
    ]
    async with database.read() as session:
        keys = [end.flow_run_id for end in ends]
        arrived = select(ChainArrival.parent_flow_run_id).where(
            col(ChainArrival.parent_flow_run_id).in_(keys)
        )
        opened = select(CampaignRun.flow_run_id).where(col(CampaignRun.flow_run_id).in_(keys))
        seen = {*await session.exec(arrived), *await session.exec(opened)}
    return [end for end in ends if end.flow_run_id not in seen]


async def _parents(session: AsyncSession) -> list[UUID]:
    """The deployments of campaigns that others come after."""
    graph = await read_graph(session)
    names = {parent.campaign for parents in graph.values() for parent in parents}
    query = (
        select(Tenant.name, Campaign.name, Campaign.prefect_deployment_id)
        .join(Tenant, col(Tenant.id) == col(Campaign.tenant_id))
        .where(col(Campaign.deleted_at).is_(None), col(Campaign.prefect_deployment_id).is_not(None))
    )
    return [
        deployment
        for tenant, name, deployment in await session.exec(query)
        if f"{tenant}/{name}" in names and deployment is not None
    ]
