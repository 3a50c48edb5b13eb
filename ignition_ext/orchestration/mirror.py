"""Writes what Prefect says of a flow run into Ignition's ledger.

Called by the flow's hooks (which Prefect runs in the flow's process, or in the worker when that
process is gone) and by reconcile for what no hook saw. Each may be repeated.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from prefect.client.schemas.objects import State, StateType
from sqlmodel import col, select

from ignition_ext.database import Database
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.legs import account_for_companions
from ignition_ext.ledger.run_rows import run_ref as reference_of
from ignition_ext.ledger.runs import close_run, find_run, mirror, set_run_state
from ignition_ext.models import Campaign, CampaignRun, Tenant
from ignition_ext.orchestration.events import CampaignEvent, tell
from ignition_ext.values import UNDER_WAY, MessageState, RunRef, RunState

__all__ = [
    "campaign_of",
    "cancel_run",
    "mirror_state",
    "reference_of",
    "started",
    "unsettled_runs",
]

CANCELLED_BY = "cancelled in Prefect"
SKIPPED = "Skipped"
"""The name of the state of type Completed that a run ends in which had a reason not to send."""
PREFECT_ACTOR = "prefect"
"""Who acted, in the audit log: Prefect's open source server knows no users."""

_CANCELS = frozenset({StateType.CANCELLING, StateType.CANCELLED})
_ENDS = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})


async def mirror_state(
    database: Database, flow_run_id: UUID, state: State, *, attempts: int | None = None
) -> bool:
    """Write a flow run's state to its campaign run; a cancelled one is accounted for.

    A run that failed without having said so itself (its database was away, or the error was none
    of ours) is closed as failed.

    Args:
        database: Ignition's.
        flow_run_id: Prefect's run.
        state: its state.
        attempts: how often the run had been begun when Prefect was asked. Where it was begun again
            meanwhile, the state is an old one and nothing is written.

    Returns:
        False when the flow run has no campaign run: it ended before one was opened.
    """
    try:
        async with database.read() as session:
            run = await find_run(session, str(flow_run_id))
    except NotFoundError:
        return False
    if attempts is not None and run.prefect_attempts != attempts:
        return True
    ref = reference_of(run)
    if state.type in _CANCELS:
        await cancel_run(database, ref, reason=state.message or CANCELLED_BY)
    elif state.type is StateType.FAILED and run.state in UNDER_WAY:
        await _fail(database, run, state.message or "failed in Prefect")
    await mirror(
        database,
        ref,
        prefect_state=state.name or state.type.value.title(),
        ended_at=state.timestamp if state.type in _ENDS else None,
    )
    if state.type is StateType.CRASHED:
        await _tell(database, run, CampaignEvent.FAILED, reason=f"crashed: {state.message}")
    return True


async def _fail(database: Database, run: CampaignRun, reason: str) -> None:
    ref = reference_of(run)
    counts = await open_ledger(database).counts(ref)
    closed = await close_run(
        database, ref, RunState.FAILED, reason, counts, attempts=run.prefect_attempts
    )
    if closed:
        await _tell(database, run, CampaignEvent.FAILED, reason=reason)


async def cancel_run(
    database: Database, ref: RunRef, *, reason: str, actor: str = PREFECT_ACTOR
) -> int:
    """Stop a run in the ledger and account for what was not sent; returns how many messages.

    The second channel that it leads is stopped with it. What is on the wire at this moment is
    settled by its sender, and what a dead sender left by reconcile: neither is called cancelled,
    because it may have been sent.
    """
    ledger = open_ledger(database)
    async with database.read() as session:
        run = await find_run(session, str(ref.id))
    first = run.state in (RunState.OPEN, RunState.PAUSED)
    if first:
        try:
            await set_run_state(database, ref.id, RunState.CANCELLED, reason=reason, actor=actor)
        except ConflictError:
            first = False  # someone else was quicker
    cancelled = await ledger.cancel_open(ref, MessageState.CANCELLED)
    if first or cancelled:
        counts = await ledger.counts(ref)
        await close_run(database, ref, RunState.CANCELLED, reason, counts)
    if first:
        await _tell(database, run, CampaignEvent.CANCELLED, reason=reason)
    return cancelled + await account_for_companions(database, ledger, ref)


async def campaign_of(database: Database, run: CampaignRun) -> tuple[str, str]:
    """``tenant/name`` and the time zone of the tenant."""
    query = (
        select(Tenant.name, Campaign.name, Tenant.timezone)
        .join(Campaign, col(Campaign.tenant_id) == col(Tenant.id))
        .where(col(Campaign.id) == run.campaign_id)
    )
    async with database.read() as session:
        tenant, name, timezone = (await session.exec(query)).one()
    return f"{tenant}/{name}", timezone


async def unsettled_runs(database: Database, *, limit: int) -> list[CampaignRun]:
    """Runs whose last mirrored state is not an end, newest first: old ones may be gone there."""
    ends = ("Completed", "Failed", "Crashed", "Cancelled", SKIPPED)
    query = (
        select(CampaignRun)
        .where(
            col(CampaignRun.flow_run_id).is_not(None), col(CampaignRun.prefect_state).not_in(ends)
        )
        .order_by(col(CampaignRun.created_at).desc())
        .limit(limit)
    )
    async with database.read() as session:
        return list(await session.exec(query))


async def started(database: Database, ref: RunRef, *, at: datetime) -> None:
    """Note that the flow's body has begun."""
    await mirror(database, ref, prefect_state="Running", started_at=at)


async def _tell(database: Database, run: CampaignRun, event: CampaignEvent, *, reason: str) -> None:
    ref = reference_of(run)
    reference, _ = await campaign_of(database, run)
    tell(
        event,
        reference=reference,
        channel="",
        run_id=run.id,
        flow_run_id=run.flow_run_id,
        counts=await open_ledger(database).counts(ref),
        reason=reason,
    )
