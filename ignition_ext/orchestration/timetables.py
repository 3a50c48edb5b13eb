"""What a campaign's schedules are counted from, read from the database."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.holidays import read_holidays
from ignition_ext.models import Campaign, CampaignVersion, Tenant
from ignition_ext.orchestration.schedules import Timetable


async def read_timetable(
    session: AsyncSession, definition: CampaignDefinition, tenant: Tenant, *, now: datetime
) -> Timetable:
    """The timetable of a campaign that is about to be applied, or was."""
    assert tenant.id is not None
    counted = any(spec.once_after is not None for spec in definition.schedules)
    applied_at = await _applied_at(session, definition, tenant.id) if counted else None
    rolls = any(spec.calendar is not None for spec in definition.schedules)
    return Timetable(
        specs=definition.schedules,
        timezone=tenant.timezone,
        holidays=await read_holidays(session, tenant.id) if rolls else frozenset(),
        applied_at=applied_at or now,
    )


async def _applied_at(
    session: AsyncSession, definition: CampaignDefinition, tenant_id: int
) -> datetime | None:
    """When these very schedules were first applied: an edit of something else starts no delay."""
    query = (
        select(CampaignVersion)
        .join(Campaign, col(Campaign.id) == col(CampaignVersion.campaign_id))
        .where(
            Campaign.tenant_id == tenant_id,
            Campaign.name == definition.name,
            col(Campaign.deleted_at).is_(None),
        )
        .order_by(col(CampaignVersion.version).desc())
    )
    wanted = definition.model_dump(mode="json", include={"schedules"})["schedules"]
    found = None
    for version in await session.exec(query):
        if version.definition.get("schedules") != wanted:
            break
        found = version.created_at
    return found
