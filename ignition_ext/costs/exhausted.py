"""The budgets that runs wait for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import database_now
from ignition_ext.models import CampaignRun, MoneyAccount
from ignition_ext.values import RunState


async def exhausted_accounts(session: AsyncSession) -> Sequence[MoneyAccount]:
    """Those that had no money for a message, in periods that go on and runs that are open."""
    now = await database_now(session)
    query = (
        select(MoneyAccount)
        .where(
            col(MoneyAccount.exhausted_at).is_not(None),
            or_(col(MoneyAccount.ends_at).is_(None), col(MoneyAccount.ends_at) > now),
        )
        .order_by(col(MoneyAccount.key))
    )
    found = (await session.exec(query)).all()
    campaigns = {row.campaign_id for row in found if row.ends_at is None}
    runs = select(CampaignRun.id).where(
        col(CampaignRun.campaign_id).in_(campaigns),
        col(CampaignRun.state).in_([RunState.OPEN.value, RunState.PAUSED.value]),
    )
    open_runs = {str(key) for key in await session.exec(runs)} if campaigns else set()
    return [row for row in found if row.ends_at is not None or row.key.split(":")[3] in open_runs]
