"""What becomes of a run's messages after the run has ended.

A sender finishes what it has on the wire, on another node perhaps, and a dead one's lease lapses
later still: what comes back then as sendable was cancelled with the rest. And what was redriven
while a run was being closed is sendable in a run that has ended.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Table, update
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import Database, database_now
from ignition_ext.ledger.contract import Ledger
from ignition_ext.ledger.run_rows import numbers, required_run
from ignition_ext.models import CampaignRun
from ignition_ext.values import OPEN_STATES, MessageState, RunRef, RunState

_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]


async def unaccounted_runs(
    session: AsyncSession, state: RunState, *, within: timedelta, limit: int
) -> list[CampaignRun]:
    """Ended runs whose counts still name messages that may be sent, latest first.

    Args:
        session: of ``Database.read()``.
        state: how they ended.
        within: how long ago they may have ended.
        limit: runs that are looked at.
    """
    query = (
        select(CampaignRun)
        .where(
            col(CampaignRun.state) == state.value,
            col(CampaignRun.ended_at) > await database_now(session) - within,
        )
        .order_by(col(CampaignRun.ended_at).desc())
        .limit(limit)
    )
    return [row for row in await session.exec(query) if any(map(row.counts.get, OPEN_STATES))]


async def account_again(database: Database, ledger: Ledger, run: RunRef) -> int:
    """Cancel what has come back since the run was cancelled, and count anew.

    Returns:
        How many messages were cancelled.
    """
    cancelled = await ledger.cancel_open(run, MessageState.CANCELLED)
    counts = numbers(await ledger.counts(run))
    async with database.write() as session:
        row = await required_run(session, run.id)
        if row.state == RunState.CANCELLED and row.counts != counts:
            await (await session.connection()).execute(
                update(_RUNS).where(_RUNS.c.id == run.id).values(counts=counts)
            )
    return cancelled
