"""Runs of campaigns: opened once, steered by the operator, closed with their counts; all audited.

A run's state is what the operator asked and how it ended; Prefect's own state is only mirrored
beside it. ``version`` counts the changes, so that of two at once one is told to look again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, update
from sqlmodel import SQLModel, col
from sqlmodel import select as select_model
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.ledger.legs import steer_companions
from ignition_ext.ledger.rows import clean
from ignition_ext.ledger.run_rows import (
    NAME_LENGTH,
    database_now,
    described,
    ends_by,
    insert_run,
    numbers,
    read_run,
    requested_run,
    required_run,
    run_ref,
)
from ignition_ext.ledger.run_rows import RunRequest as RunRequest
from ignition_ext.models import Campaign, CampaignRun, Tenant
from ignition_ext.values import UNDER_WAY, MessageState, RunRef, RunState

_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]
_REASON_LENGTH, _PREFECT_STATE_LENGTH = 2000, 40
_ASKED: Mapping[RunState, frozenset[RunState]] = {
    RunState.PAUSED: frozenset({RunState.OPEN}),
    RunState.OPEN: frozenset({RunState.PAUSED}),
    RunState.CANCELLED: frozenset({RunState.OPEN, RunState.PAUSED, RunState.FAILED}),
}
"""What an operator may ask for, and of a run in which state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """A run that may be worked on, if ``state`` is open.

    Attributes:
        resumed: the run stood there already; this is a retry, or a second firing of a schedule.
        prefect_attempts: times that a flow's body began it, this one included.
        ends_by: when its time limit is over; None without one.
        in_steps: it goes out in steps, or stops when too much goes wrong.
    """

    ref: RunRef
    state: RunState
    snapshot_done: bool
    resumed: bool
    prefect_attempts: int
    ends_by: datetime | None = None
    in_steps: bool = False


async def open_run(database: Database, request: RunRequest, *, actor: str) -> OpenedRun:
    """The run of this flow run, else that of this scheduled time, else a new one.

    Two processes at once open one. A run that ended is opened again when its own flow run comes
    back (an operator retried it in Prefect): what is still sendable is sent. That holds for a
    cancelled one too once it was closed; its cancelled messages stay cancelled. A cancel that is
    not closed yet is kept, for Prefect may retry by itself meanwhile; so is any end against a
    second flow run for the same scheduled time. A paused run stays paused. A skipped one did
    nothing yet: it is whoever's who has a reason to send at that time.
    """
    async with database.write() as session:
        now = await database_now(session)
        row = await requested_run(session, request)
        resumed = row is not None
        if row is None:
            row, added = await insert_run(session, request, now)
            resumed = not added
        before, state = RunState(row.state), _reopened(row, request)
        values: dict[str, Any] = {"prefect_attempts": row.prefect_attempts + 1}
        if state is not before:
            values |= {
                "state": state.value,
                "state_reason": "",
                "version": row.version + 1,
                "ended_at": None,
                "ends_by": ends_by(request, now),
            }
        if request.leg is not None:
            values |= {"flow_run_id": request.flow_run_id}
            if row.prefect_attempts == 0:
                values |= {"ends_by": ends_by(request, now)}
        if before is RunState.SKIPPED:
            values |= {
                "flow_run_id": request.flow_run_id,
                "flow_run_name": clean(request.flow_run_name, NAME_LENGTH),
            }
        await (await session.connection()).execute(
            update(_RUNS).where(_RUNS.c.id == row.id).values(**values)
        )
        if not resumed or state is not before:
            await audit.record(
                session,
                tenant_id=row.tenant_id,
                actor=actor,
                action="run.reopened" if resumed else "run.opened",
                subject=f"run:{row.id}",
                before={"state": before.value} if resumed else None,
                after={"state": state.value} | ({} if resumed else described(row)),
            )
        return OpenedRun(
            ref=run_ref(row),
            state=state,
            snapshot_done=row.snapshot_at is not None,
            resumed=resumed,
            prefect_attempts=row.prefect_attempts + 1,
            ends_by=values.get("ends_by", row.ends_by),
        )


def _reopened(row: CampaignRun, request: RunRequest) -> RunState:
    state = RunState(row.state)
    if state is RunState.SKIPPED:
        return RunState.OPEN
    is_its_own = request.flow_run_id is not None and (
        row.flow_run_id == request.flow_run_id or request.leg is not None
    )
    if state in (RunState.COMPLETED, RunState.FAILED):
        return RunState.OPEN if is_its_own else state
    if state is RunState.CANCELLED and row.ended_at is not None and is_its_own:
        # A companion's flow run may have been asked for just before its lead was cancelled.
        return RunState.OPEN if row.prefect_attempts else state
    return state


async def mirror(
    database: Database,
    ref: RunRef,
    *,
    prefect_state: str,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> None:
    """Copy Prefect's state and times into the run; the first start is kept. Not audited: it is
    Prefect's history, not a change of ours."""
    async with database.write() as session:
        row = await required_run(session, ref.id)
        values: dict[str, Any] = {
            "prefect_state": clean(prefect_state, _PREFECT_STATE_LENGTH),
            "started_at": row.started_at or started_at,
        }
        if ended_at is not None:
            values["ended_at"] = ended_at
        await (await session.connection()).execute(
            update(_RUNS).where(_RUNS.c.id == ref.id).values(**values)
        )


async def close_run(
    database: Database,
    ref: RunRef,
    state: RunState,
    reason: str,
    counts: Mapping[MessageState, int],
    *,
    actor: str = "ignition",
    attempts: int | None = None,
) -> bool:
    """Note how a run ended, when, and its messages by state.

    A run that the operator cancelled stays cancelled, however its flow ended. With ``attempts`` one
    that has an end, or was begun another number of times, is left as it is.

    Returns:
        Whether it was noted.
    """
    async with database.write() as session:
        row = await required_run(session, ref.id)
        before = RunState(row.state)
        if attempts is not None and not (
            row.prefect_attempts == attempts and before.value in UNDER_WAY
        ):
            return False
        after = RunState.CANCELLED if before is RunState.CANCELLED else state
        await (await session.connection()).execute(
            update(_RUNS)
            .where(_RUNS.c.id == ref.id)
            .values(
                state=after.value,
                state_reason=clean(reason, _REASON_LENGTH) or row.state_reason,
                version=row.version + int(after is not before),
                ended_at=await database_now(session),
                counts=numbers(counts),
            )
        )
        await audit.record(
            session,
            tenant_id=row.tenant_id,
            actor=actor,
            action="run.closed",
            subject=f"run:{row.id}",
            before={"state": before.value},
            after={"state": after.value, "reason": reason, "counts": numbers(counts)},
        )
        return True


async def set_run_state(
    database: Database, run_id: UUID, state: RunState, *, reason: str, actor: str
) -> RunRef:
    """Pause, resume or cancel a run: senders see it at their next claim and before each intent.

    So do those of the second channel that it leads, from the same transaction on; what leads a run
    is left alone. What is still open in a cancelled run is settled by :meth:`Ledger.cancel_open`.
    Asking for the state that a run is in changes nothing.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: the run is over, or was changed by someone else meanwhile.
    """
    async with database.write() as session:
        row = await read_run(session, run_id)
        before = RunState(row.state)
        if before is state:
            await steer_companions(session, row.id, state, reason=reason, actor=actor)
            return run_ref(row)
        if before not in _ASKED.get(state, frozenset()):
            raise ConflictError(
                f"run {run_id} is {before} and cannot become {state}.",
                mend="Only an open run can be paused or cancelled, only a paused one resumed;"
                " retry a run that is over in Prefect.",
            )
        changed = await (await session.connection()).execute(
            update(_RUNS)
            .where(_RUNS.c.id == run_id, _RUNS.c.version == row.version)
            .values(
                state=state.value,
                state_reason=clean(reason, _REASON_LENGTH),
                version=row.version + 1,
            )
            .returning(_RUNS.c.id)
        )
        if changed.first() is None:
            raise ConflictError(
                f"run {run_id} was changed by someone else.", mend="Look at it and try again."
            )
        await audit.record(
            session,
            tenant_id=row.tenant_id,
            actor=actor,
            action=f"run.{'resumed' if state is RunState.OPEN else state.value}",
            subject=f"run:{row.id}",
            before={"state": before.value},
            after={"state": state.value, "reason": reason},
        )
        await steer_companions(session, row.id, state, reason=reason, actor=actor)
        return run_ref(row)


async def find_run(session: AsyncSession, reference: str) -> CampaignRun:
    """The run with this id, the run of this Prefect flow run, or a campaign's latest run.

    Args:
        session: of ``Database.read()`` or ``Database.write()``.
        reference: a run id, a flow run id, or ``tenant/campaign``.

    Raises:
        NotFoundError: there is none.
    """
    try:
        key = UUID(reference)
    except ValueError:
        return await _latest(session, reference)
    query = select_model(CampaignRun).where(
        (col(CampaignRun.id) == key) | (col(CampaignRun.flow_run_id) == key)
    )
    row = (await session.exec(query)).first()
    if row is None:
        raise NotFoundError(
            f"there is no run {reference}.", mend="Run: ignition campaign status TENANT/NAME"
        )
    return row


async def _latest(session: AsyncSession, reference: str) -> CampaignRun:
    tenant, slash, name = reference.partition("/")
    if not slash or not tenant or not name:
        raise NotFoundError(
            f"{reference!r} is neither a run's id nor a campaign.",
            mend="Give a run id, a Prefect flow run id, or TENANT/CAMPAIGN.",
        )
    query = (
        select_model(CampaignRun)
        .join(Campaign, col(Campaign.id) == col(CampaignRun.campaign_id))
        .join(Tenant, col(Tenant.id) == col(Campaign.tenant_id))
        .where(
            col(Tenant.name) == tenant,
            col(Campaign.name) == name,
            col(CampaignRun.lead_run_id).is_(None),
        )
        .order_by(col(CampaignRun.run_at).desc(), col(CampaignRun.id).desc())
        .limit(1)
    )
    row = (await session.exec(query)).first()
    if row is None:
        raise NotFoundError(
            f"campaign {reference} has no run.", mend=f"Run: ignition campaign run {reference}"
        )
    return row


async def overdue_runs(session: AsyncSession, *, limit: int) -> list[RunRef]:
    """Runs that have not ended and are past their deadline, by the database's clock."""
    query = (
        select_model(CampaignRun)
        .where(
            col(CampaignRun.state).in_(UNDER_WAY),
            col(CampaignRun.deadline) <= await database_now(session),
        )
        .order_by(col(CampaignRun.deadline).desc())
        .limit(limit)
    )
    return [run_ref(row) for row in await session.exec(query)]
