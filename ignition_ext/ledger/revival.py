"""Runs that lost their process: which they are, and the right to start one of them again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, func, update
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database, database_now
from ignition_ext.ledger.run_rows import read_run, run_ref
from ignition_ext.models import AuditLog, CampaignRun, SenderLease
from ignition_ext.values import CRASHED, UNDER_WAY, RunRef, RunState

REVIVED, CONTINUED = "run.revived", "run.continued"
"""What the audit log calls it: one that was lost is counted, one that has more to send is not."""
_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]


async def crashed_runs(
    session: AsyncSession, *, within: timedelta, limit: int
) -> Sequence[CampaignRun]:
    """Runs whose flow run crashed a short while ago, not before they failed or were cancelled.

    Of older ones somebody must have known; they are an operator's to retry.
    """
    now = await database_now(session)
    query = (
        select(CampaignRun)
        .where(
            col(CampaignRun.state).in_((*UNDER_WAY, RunState.COMPLETED.value)),
            col(CampaignRun.prefect_state) == CRASHED,
            col(CampaignRun.ended_at) > now - within,
        )
        .order_by(col(CampaignRun.ended_at).desc())
        .limit(limit)
    )
    return list(await session.exec(query))


async def is_worked_on(session: AsyncSession, run_id: UUID) -> bool:
    """Whether some sender holds messages of the run under a lease that it keeps alive."""
    now = await database_now(session)
    query = (
        select(SenderLease.id)
        .where(col(SenderLease.run_id) == run_id, col(SenderLease.until) > now)
        .limit(1)
    )
    return (await session.exec(query)).first() is not None


async def runs_with_lapsed_leases(session: AsyncSession, *, limit: int) -> Sequence[RunRef]:
    """Runs of which a dead sender still holds something."""
    now = await database_now(session)
    query = (
        select(CampaignRun)
        .where(
            col(CampaignRun.id).in_(select(SenderLease.run_id).where(col(SenderLease.until) <= now))
        )
        .limit(limit)
    )
    return [run_ref(row) for row in await session.exec(query)]


async def revivals(session: AsyncSession, run: CampaignRun) -> int:
    """How often the run was revived."""
    query = select(func.count()).where(
        col(AuditLog.tenant_id) == run.tenant_id,
        col(AuditLog.action) == REVIVED,
        col(AuditLog.subject) == f"run:{run.id}",
    )
    return int((await session.exec(query)).one())


async def take_revival(
    database: Database,
    run: CampaignRun,
    *,
    becomes: str,
    reason: str,
    actor: str,
    action: str = REVIVED,
) -> bool:
    """Take the right to start a run again; False where another was quicker.

    Several may look at the same moment, and only one of them may tell Prefect: its word would
    otherwise hit the process that the other's has just started.

    Args:
        database: Ignition's.
        run: as it was read.
        becomes: the state in Prefect that the caller is about to set.
        reason: what was found.
        actor: who.
        action: what the audit log calls it; those by the usual name are counted.
    """
    async with database.write() as session:
        changed = await (await session.connection()).execute(
            update(_RUNS)
            .where(
                _RUNS.c.id == run.id,
                _RUNS.c.prefect_state == run.prefect_state,
                _RUNS.c.prefect_attempts == run.prefect_attempts,
                _RUNS.c.state == run.state,
            )
            .values(prefect_state=becomes, ended_at=None)
            .returning(_RUNS.c.id)
        )
        if changed.first() is None:
            return False
        await note(
            session,
            run.id,
            actor=actor,
            action=action,
            before={"prefect_state": run.prefect_state},
            after={"prefect_state": becomes, "reason": reason},
        )
    return True


async def note(
    session: AsyncSession,
    run_id: UUID,
    *,
    actor: str,
    action: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """One row of the audit log about a run."""
    row = await read_run(session, run_id)
    await audit.record(
        session,
        tenant_id=row.tenant_id,
        actor=actor,
        action=action,
        subject=f"run:{run_id}",
        before=before,
        after=after,
    )
