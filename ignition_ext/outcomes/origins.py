"""Which campaign a message came from, as long as its rows are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.models import Campaign, CampaignRun, Message, Tenant

Origin = Mapping[str, str | None]
"""``campaign``, ``run_id`` and ``flow_run_id``, as events name them."""


async def origins_of(session: AsyncSession, message_ids: Collection[UUID]) -> dict[UUID, Origin]:
    """The origins of messages; those whose rows are gone, or that had no run, are left out."""
    if not message_ids:
        return {}
    query = (
        select(
            col(Message.id),
            col(Tenant.name),
            col(Campaign.name),
            col(CampaignRun.id),
            col(CampaignRun.flow_run_id),
        )
        .join(CampaignRun, col(CampaignRun.id) == col(Message.run_id))
        .join(Campaign, col(Campaign.id) == col(CampaignRun.campaign_id))
        .join(Tenant, col(Tenant.id) == col(CampaignRun.tenant_id))
        .where(col(Message.id).in_(message_ids))
    )
    found = await (await session.connection()).execute(query)
    return {
        message_id: {
            "campaign": f"{tenant}/{campaign}",
            "run_id": str(run_id),
            "flow_run_id": None if flow_run_id is None else str(flow_run_id),
        }
        for message_id, tenant, campaign, run_id, flow_run_id in found
    }
