"""What becomes of a run that was opened while another of its campaign is open; decided at once.

Whoever looks has opened its own run before, and holds the campaign's row: of two that begin at
the same moment the later look sees both, and exactly one of them goes on.
"""

from __future__ import annotations

from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database
from ignition_ext.ledger.legs import abandoned
from ignition_ext.ledger.rows import clean
from ignition_ext.ledger.run_rows import database_now, required_run
from ignition_ext.models import Campaign, CampaignRun
from ignition_ext.values import CRASHED, UNDER_WAY, MessageState, RunRef, RunState

_REASON_LENGTH = 2000


async def give_way(database: Database, ref: RunRef, *, actor: str) -> str:
    """Skip this run if another of its campaign is open; returns why, empty if it goes on.

    A crashed one is in nobody's way: it may never come back. Nor is a second channel that its lead
    left without an audience.
    """
    async with database.write() as session:
        row = await required_run(session, ref.id)
        others = await _others(session, row)
        if row.state != RunState.OPEN or not others:
            return ""
        reason = f"the run {others[0].flow_run_name or others[0].id} is under way"
        row.state, row.state_reason = RunState.SKIPPED.value, clean(reason, _REASON_LENGTH)
        row.version += 1
        row.ended_at = await database_now(session)
        row.counts = {state.value: 0 for state in MessageState} | {"total": 0}
        session.add(row)
        await audit.record(
            session,
            tenant_id=row.tenant_id,
            actor=actor,
            action="run.skipped",
            subject=f"run:{row.id}",
            before={"state": RunState.OPEN.value},
            after={"state": row.state, "reason": row.state_reason},
        )
        return reason


async def in_the_way(database: Database, ref: RunRef) -> tuple[list[UUID], bool]:
    """The open runs of the campaign that began before this one, and whether one began after it."""
    async with database.write() as session:
        row = await required_run(session, ref.id)
        others = await _others(session, row)
        mine = (row.run_at, row.id)
        older = [other.id for other in others if (other.run_at, other.id) < mine]
        return older, len(older) < len(others)


async def _others(session: AsyncSession, row: CampaignRun) -> list[CampaignRun]:
    lock = select(Campaign.id).where(Campaign.id == row.campaign_id).with_for_update()
    await session.exec(lock)
    query = select(CampaignRun).where(
        CampaignRun.campaign_id == row.campaign_id,
        CampaignRun.id != row.id,
        # A run and its own second channel are one.
        col(CampaignRun.lead_run_id).is_distinct_from(row.id),
        col(CampaignRun.state).in_(UNDER_WAY),
        CampaignRun.prefect_state != CRASHED,
        ~abandoned(CampaignRun),
    )
    return list(await session.exec(query.order_by(col(CampaignRun.run_at))))
