"""Starting, watching and steering runs: the ledger says what happened, Prefect does the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelling
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.campaigns.step_rows import read_steps
from ignition_ext.campaigns.step_stops import StepStatus, step_status
from ignition_ext.costs.actual import cost_status
from ignition_ext.database import Database
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.fallback_counts import Fallen, count_fallen
from ignition_ext.ledger.legs import companions_of, is_under_way, other_leg
from ignition_ext.ledger.runs import find_run, set_run_state
from ignition_ext.models import Campaign, CampaignRun, Tenant
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.mirror import SKIPPED, cancel_run, reference_of
from ignition_ext.values import MessageState, RunState

ACCEPTED = (
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
)
"""States of messages that a server took: what a rate counts."""
SCHEDULED = "scheduled"
"""What a run's state is called while Prefect has it and it has not reached the ledger."""
ENDED = {
    StateType.COMPLETED: RunState.COMPLETED,
    StateType.FAILED: RunState.FAILED,
    StateType.CRASHED: RunState.FAILED,
    StateType.CANCELLED: RunState.CANCELLED,
}
"""How runs that never reached the ledger ended: dry runs, and those that failed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStatus:
    """The other channel of a run, as the status of the one names it."""

    run_id: UUID
    flow_run_id: UUID | None
    flow_run_name: str
    channel: str
    state: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """How a run stands; the document that ``campaign status --json`` prints.

    Attributes:
        run_id: the campaign_run's id; None while no worker has begun it.
        state: open, paused, cancelled, completed, failed, or scheduled before it began.
        state_reason: why, where there is something to say.
        prefect_state: the flow run's state as last seen.
        channel: of the messages counted here; empty while no worker has begun it.
        lead_run_id: the run that this one is the second channel of.
        other_leg: how the run on the campaign's other channel stands; None where there is none.
        fallback: the emails of the run, or of the other leg, that fell back to text messages; None
            where none did.
        counts: messages in each state, and ``total``.
        rate: messages a second that a server took, from start to end or now; None before any.
        steps: how far a run in steps is, and why it stopped; None for others.
        cost: ``estimate`` and ``actual``, each None where unknown; None without a rate card.
    """

    campaign: str
    run_id: UUID | None
    flow_run_id: UUID | None
    flow_run_name: str
    state: str
    state_reason: str
    prefect_state: str
    counts: Mapping[str, int]
    skipped: int
    rejected: int
    duplicates: int
    scheduled_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    rate: float | None
    steps: StepStatus | None = None
    cost: Mapping[str, Any] | None = None
    channel: str = ""
    lead_run_id: UUID | None = None
    other_leg: LegStatus | None = None
    fallback: Fallen | None = None


async def run_status(
    database: Database, reference: str, *, computes_cost: bool = False
) -> RunStatus:
    """How a run stands, from the database alone.

    Args:
        database: Ignition's.
        reference: a run's id, a flow run's id, or TENANT/NAME for the campaign's latest run.
        computes_cost: also of a run that goes on, which reads each of its messages once more.

    Raises:
        NotFoundError: there is no such run.
    """
    async with database.read() as session:
        row = await find_run(session, reference)
        campaign = await _campaign_of(session, row)
        other = await other_leg(session, row)
        fallen = None if other is None else await count_fallen(session, row.lead_run_id or row.id)
    counts = await open_ledger(database).counts(reference_of(row))
    return RunStatus(
        campaign=campaign,
        run_id=row.id,
        flow_run_id=row.flow_run_id,
        flow_run_name=row.flow_run_name,
        state=row.state,
        state_reason=row.state_reason,
        prefect_state=row.prefect_state,
        counts=with_total(counts),
        skipped=row.skipped,
        rejected=row.rejected,
        duplicates=row.duplicates,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        rate=rate(counts, row.started_at, row.ended_at or utc_now()),
        steps=step_status(await read_steps(database, row.id), row.state),
        cost=await cost_status(database, reference_of(row), computes=computes_cost),
        channel=row.channel,
        lead_run_id=row.lead_run_id,
        other_leg=None if other is None else await _leg_status(database, other),
        fallback=fallen,
    )


async def _leg_status(database: Database, row: CampaignRun) -> LegStatus:
    return LegStatus(
        run_id=row.id,
        flow_run_id=row.flow_run_id,
        flow_run_name=row.flow_run_name,
        channel=row.channel,
        state=row.state,
        counts=with_total(await open_ledger(database).counts(reference_of(row))),
    )


def scheduled_status(campaign: str, flow_run: FlowRun) -> RunStatus:
    """The status of a run that is not in the ledger: all that is known is Prefect's.

    No worker has begun it, or it was a dry run, or it failed before it sent anything.
    """
    ended = ENDED.get(flow_run.state_type) if flow_run.state_type else None
    if flow_run.state_name == SKIPPED:
        ended = RunState.SKIPPED
    return RunStatus(
        campaign=campaign,
        run_id=None,
        flow_run_id=flow_run.id,
        flow_run_name=flow_run.name,
        state=ended.value if ended else SCHEDULED,
        state_reason=(flow_run.state.message or "") if flow_run.state else "",
        prefect_state=flow_run.state_name or "",
        counts=with_total({}),
        skipped=0,
        rejected=0,
        duplicates=0,
        scheduled_at=flow_run.expected_start_time,
        started_at=flow_run.start_time,
        ended_at=flow_run.end_time,
        rate=None,
    )


def with_total(counts: Mapping[MessageState, int]) -> dict[str, int]:
    """Every state in the ledger's order, and their sum."""
    complete = {state.value: counts.get(state, 0) for state in MessageState}
    return {**complete, "total": sum(complete.values())}


def rate(
    counts: Mapping[MessageState, int], started_at: datetime | None, until: datetime
) -> float | None:
    """Accepted messages a second, None before the first."""
    accepted = sum(counts.get(state, 0) for state in ACCEPTED)
    if started_at is None or not accepted:
        return None
    seconds = (until - started_at).total_seconds()
    return round(accepted / seconds, 2) if seconds > 0 else None


async def pause(database: Database, reference: str, *, actor: str) -> CampaignRun:
    """Stop sending without ending the run; what is on the wire is still settled.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it is not open.
    """
    return await _steer(database, reference, RunState.PAUSED, actor)


async def resume(database: Database, reference: str, *, actor: str) -> CampaignRun:
    """Let a paused run go on.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it is not paused.
    """
    return await _steer(database, reference, RunState.OPEN, actor)


async def wake_all(database: Database, client: PrefectClient, run: CampaignRun) -> bool:
    """Let a run and its second channel, where they wait in Prefect, start again now."""
    async with database.read() as session:
        runs = [run, *await companions_of(session, run.id)]
    return any([await wake(client, one) for one in runs])


async def wake(client: PrefectClient, run: CampaignRun) -> bool:
    """Let a run that waits in Prefect start again now; returns whether it waited.

    A running process sees by itself that its run goes on.
    """
    if run.flow_run_id is None:
        return False
    flow_run = await find_flow_run(client, str(run.flow_run_id))
    if flow_run is None or flow_run.state_name != AwaitingRetry().name:
        return False
    state: State[None] = AwaitingRetry(scheduled_time=utc_now(), message="resumed")
    # Forced: Prefect takes no scheduled state for one that is scheduled already.
    await client.set_flow_run_state(flow_run.id, state, force=True)
    return True


async def cancel(
    database: Database, client: PrefectClient, reference: str, *, actor: str
) -> UUID | None:
    """End a run: nothing more is sent, and what was not sent is accounted for as cancelled.

    The ledger first: senders look there, also those that Prefect's cancel does not reach.

    Returns:
        The run's id, None for a run that no worker had begun.

    Raises:
        NotFoundError: neither the ledger nor Prefect knows such a run.
        ConflictError: it has ended.
    """
    async with database.read() as session:
        try:
            row: CampaignRun | None = await find_run(session, reference)
        except NotFoundError:
            row = None
    if row is None:
        await _cancel_scheduled(database, client, reference, actor=actor)
        return None
    legs = await _legs_under_way(database, row)
    ended = row.state in (RunState.COMPLETED, RunState.FAILED, RunState.SKIPPED)
    if ended and not legs:
        raise ConflictError(f"the run {row.id} has ended: {row.state}.", mend="Nothing is left.")
    for one in legs if ended else [row, *legs]:
        await cancel_run(database, reference_of(one), reason=f"cancelled by {actor}", actor=actor)
        if one.flow_run_id is not None:
            await ask_to_cancel(client, one.flow_run_id)
    return row.id


async def _legs_under_way(database: Database, row: CampaignRun) -> list[CampaignRun]:
    async with database.read() as session:
        return [leg for leg in await companions_of(session, row.id) if is_under_way(leg)]


async def find_flow_run(client: PrefectClient, reference: str) -> FlowRun | None:
    """The flow run of that id, if Prefect has one."""
    try:
        return await client.read_flow_run(UUID(reference))
    except (ValueError, ObjectNotFound):
        return None


async def workers_online(client: PrefectClient, pool: str) -> int:
    """How many workers poll the pool now."""
    workers = await client.read_workers_for_work_pool(pool)
    return sum(worker.status == WorkerStatus.ONLINE for worker in workers)


async def _cancel_scheduled(
    database: Database, client: PrefectClient, reference: str, *, actor: str
) -> None:
    flow_run = await find_flow_run(client, reference)
    if flow_run is None or flow_run.state is None:
        raise NotFoundError(
            f"there is no run {reference}.",
            mend="Name a run's id, a flow run's id, or TENANT/NAME.",
        )
    if flow_run.state.is_final():
        raise ConflictError(
            f"the run {reference} has ended: {flow_run.state.name}.", mend="Nothing is left to do."
        )
    await ask_to_cancel(client, flow_run.id)
    query = select(Campaign).where(Campaign.prefect_deployment_id == flow_run.deployment_id)
    async with database.write() as session:
        campaign = (await session.exec(query)).first()
        if campaign is not None and flow_run.deployment_id is not None:
            await audit.record(
                session,
                tenant_id=campaign.tenant_id,
                actor=actor,
                action="run.cancelled",
                subject=f"campaign:{campaign.name}",
                before={"flow_run_id": str(flow_run.id), "state": flow_run.state.name},
            )


async def ask_to_cancel(client: PrefectClient, flow_run_id: UUID) -> None:
    """Move the flow run to Cancelling, unless it has ended; its worker then stops the process."""
    try:
        flow_run = await client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return  # deleted in the UI; the ledger has been told
    if flow_run.state is None or not flow_run.state.is_final():
        state: State[None] = Cancelling(message="Cancelled with ignition campaign cancel.")
        await client.set_flow_run_state(flow_run_id, state)


async def _steer(database: Database, reference: str, state: RunState, actor: str) -> CampaignRun:
    """Ask it of a run, or where that has ended of its second channel that has not."""
    async with database.read() as session:
        row = await find_run(session, reference)
    legs = [] if is_under_way(row) else await _legs_under_way(database, row)
    for one in legs or [row]:
        reason = f"{state.value} by {actor}"
        await set_run_state(database, one.id, state, reason=reason, actor=actor)
    return row


async def _campaign_of(session: AsyncSession, row: CampaignRun) -> str:
    campaign = await session.get_one(Campaign, row.campaign_id)
    tenant = await session.get_one(Tenant, row.tenant_id)
    return f"{tenant.name}/{campaign.name}"


def succeeded(flow_run: FlowRun) -> bool:
    """Whether Prefect calls the run completed."""
    return flow_run.state_type is StateType.COMPLETED
