"""The end of a run with two channels: what comes after it waits for both, and sees one end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns.chain import RunEnd
from ignition_ext.campaigns.chain_store import GIVEN_UP_AFTER, EndedRun
from ignition_ext.campaigns.store import split_reference
from ignition_ext.database import Database, database_now
from ignition_ext.ledger.legs import companions_of, is_abandoned, is_under_way
from ignition_ext.models import Campaign, CampaignRun, Tenant
from ignition_ext.values import CRASHED

_WORST_FIRST = (RunEnd.FAILED, RunEnd.CANCELLED, RunEnd.SKIPPED, RunEnd.COMPLETED)


async def joint_end(database: Database, run: EndedRun) -> EndedRun | None:
    """The end of the whole run that this is a leg of; None while its other leg goes on.

    It is the worse of the two, under the flow run of the leg that leads. A run with one channel is
    whole by itself. Where two schedules meet, two flow runs are for one time: one has the run, and
    the other's end is none.
    """
    async with database.read() as session:
        query = select(CampaignRun).where(col(CampaignRun.flow_run_id) == run.flow_run_id)
        row = (await session.exec(query)).first()
        if row is None:  # it ended before it was opened
            return None if await _is_anothers(session, run) else run
        lead = row
        if row.lead_run_id is not None:
            lead = await session.get_one(CampaignRun, row.lead_run_id)
        companions = await companions_of(session, lead.id)
        now = await database_now(session)
    if not companions:
        return run
    if lead.flow_run_id is None or lead.max_messages is not None:
        return None  # a trial lets nothing go
    ends = [run]
    for other in (lead, *companions):
        if other.id != row.id and not is_abandoned(other, lead):
            end = _end_of(other, run.campaign, now)
            if end is None:
                return None
            ends.append(end)
    worst = min(ends, key=lambda one: _WORST_FIRST.index(one.end))
    own = run.release_id if row is lead else None
    return replace(worst, flow_run_id=lead.flow_run_id, release_id=own, is_joint=True)


async def _is_anothers(session: AsyncSession, run: EndedRun) -> bool:
    """Whether another flow run has the campaign's run of that time."""
    if run.scheduled_at is None:
        return False
    tenant, name = split_reference(run.campaign)
    query = (
        select(CampaignRun.id)
        .join(Campaign, col(Campaign.id) == col(CampaignRun.campaign_id))
        .join(Tenant, col(Tenant.id) == col(Campaign.tenant_id))
        .where(
            col(Tenant.name) == tenant,
            col(Campaign.name) == name,
            col(CampaignRun.scheduled_at) == run.scheduled_at,
        )
    )
    return (await session.exec(query)).first() is not None


def _end_of(run: CampaignRun, campaign: str, now: datetime) -> EndedRun | None:
    if is_under_way(run):
        given_up = run.ended_at is not None and run.ended_at < now - GIVEN_UP_AFTER
        if run.prefect_state != CRASHED or not given_up:
            return None
        end, reason = RunEnd.FAILED, "crashed"
    else:
        end, reason = RunEnd(run.state), run.state_reason
    key = run.flow_run_id or run.id
    return EndedRun(campaign=campaign, flow_run_id=key, end=end, reason=reason)
