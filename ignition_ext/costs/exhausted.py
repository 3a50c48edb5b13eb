"""How budgets stand: all of a tenant's, those that runs wait for, those that were raised."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.costs.budget import Budget, Per, account_of, campaign_budget
from ignition_ext.costs.budget_store import budgets_of, new_account, tenant_budgets
from ignition_ext.database import database_now
from ignition_ext.models import Campaign, CampaignRun, CampaignVersion, MoneyAccount, Tenant
from ignition_ext.values import UNDER_WAY, RunState

SHOWN = 100
"""Accounts in a list: those of runs are never deleted."""
_NO_CAMPAIGN = -1


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
        col(CampaignRun.state).in_(UNDER_WAY),
    )
    open_runs = {str(key) for key in await session.exec(runs)} if campaigns else set()
    return [row for row in found if row.ends_at is not None or row.key.split(":")[3] in open_runs]


async def raised_accounts(session: AsyncSession) -> Sequence[MoneyAccount]:
    """Those of the exhausted ones whose budget is another by now, and has money."""
    return [row for row in await exhausted_accounts(session) if await _has_money(session, row)]


async def _has_money(session: AsyncSession, row: MoneyAccount) -> bool:
    per = Per(row.key.split(":")[2])
    found = await budgets_of(session, row.tenant_id, row.campaign_id or _NO_CAMPAIGN)
    now = [
        budget
        for owner, budget in found
        if owner == row.campaign_id and budget.per is per and budget.money.currency == row.currency
    ]
    return all(budget.money.micros > row.budget for budget in now)


async def note_raised(session: AsyncSession, row: MoneyAccount) -> None:
    """Call an account exhausted no more; whoever asks for money finds its new budget."""
    found = await session.get(MoneyAccount, row.key)
    if found is not None:
        found.exhausted_at = None


async def waiting_runs(session: AsyncSession, row: MoneyAccount) -> Sequence[CampaignRun]:
    """The open runs that an account's budget is for, as far as they wait in Prefect."""
    query = select(CampaignRun).where(
        CampaignRun.tenant_id == row.tenant_id,
        CampaignRun.state == RunState.OPEN.value,
        CampaignRun.prefect_state == "AwaitingRetry",
    )
    if row.campaign_id is not None:
        query = query.where(CampaignRun.campaign_id == row.campaign_id)
    return (await session.exec(query)).all()


async def current_accounts(session: AsyncSession, tenant_id: int) -> Sequence[MoneyAccount]:
    """A tenant's accounts of periods that go on, and of its latest runs; the newest first."""
    now = await database_now(session)
    query = (
        select(MoneyAccount)
        .where(
            MoneyAccount.tenant_id == tenant_id,
            or_(col(MoneyAccount.ends_at).is_(None), col(MoneyAccount.ends_at) > now),
        )
        .order_by(col(MoneyAccount.updated_at).desc())
        .limit(SHOWN)
    )
    return (await session.exec(query)).all()


async def unspent_accounts(session: AsyncSession, tenant: Tenant) -> Sequence[MoneyAccount]:
    """As they will be: the accounts of a tenant's days and months that nothing was spent of yet."""
    assert tenant.id is not None
    now, zone = await database_now(session), ZoneInfo(tenant.timezone)
    query = (
        select(Campaign.id, CampaignVersion.definition)
        .join(CampaignVersion, col(CampaignVersion.campaign_id) == col(Campaign.id))
        .where(
            Campaign.tenant_id == tenant.id,
            col(Campaign.deleted_at).is_(None),
            CampaignVersion.version == Campaign.version,
        )
        .order_by(col(Campaign.id))
    )
    budgets: list[tuple[int | None, Budget]] = [
        (None, budget) for budget in await tenant_budgets(session, tenant.id)
    ]
    for campaign_id, definition in await session.exec(query):
        own = campaign_budget(definition)
        if own is not None and own.per is not Per.RUN:
            budgets.append((campaign_id, own))
    accounts = [
        account_of(
            budget,
            tenant_id=tenant.id,
            campaign_id=campaign_id,
            now=now,
            zone=zone,
        )
        for campaign_id, budget in budgets
    ]
    keys = [account.key for account in accounts]
    known = set(await session.exec(select(MoneyAccount.key).where(col(MoneyAccount.key).in_(keys))))
    return [new_account(one, now) for one in accounts if one.key not in known]


async def campaign_names(session: AsyncSession, accounts: Sequence[MoneyAccount]) -> dict[str, str]:
    """The names of the campaigns whose accounts these are, by the accounts' keys."""
    ids = {one.campaign_id for one in accounts if one.campaign_id is not None}
    query = select(Campaign.id, Campaign.name).where(col(Campaign.id).in_(ids))
    names = dict((await session.exec(query)).all())
    return {one.key: names[one.campaign_id] for one in accounts if one.campaign_id in names}
