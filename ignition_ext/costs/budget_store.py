"""Which budgets a campaign's messages fall under, as the tenant and the campaign file say."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.costs.budget import (
    TENANT_BUDGETS,
    Account,
    Budget,
    Per,
    account_of,
    campaign_budget,
    tenant_budget,
)
from ignition_ext.database import database_now
from ignition_ext.errors import ConfigurationError
from ignition_ext.models import Campaign, CampaignVersion, MoneyAccount, Tenant, TenantSetting


async def budgets_of(
    session: AsyncSession, tenant_id: int, campaign_id: int
) -> list[tuple[int | None, Budget]]:
    """The budgets that a campaign's messages fall under, as they are set now.

    Each with the campaign whose it is, None for the tenant's. Of the campaign's newest version,
    so that a budget that was raised counts for a run that waits for it.
    """
    found: list[tuple[int | None, Budget]] = []
    version = (
        select(CampaignVersion.definition)
        .join(Campaign, col(Campaign.id) == col(CampaignVersion.campaign_id))
        .where(Campaign.id == campaign_id, CampaignVersion.version == Campaign.version)
    )
    definition = (await session.exec(version)).first()
    if definition is not None and (own := campaign_budget(definition)) is not None:
        found.append((campaign_id, own))
    return found + [(None, budget) for budget in await tenant_budgets(session, tenant_id)]


async def tenant_budgets(session: AsyncSession, tenant_id: int) -> list[Budget]:
    """What all of a tenant's messages may cost, as it is set now."""
    settings = select(TenantSetting.key, TenantSetting.value).where(
        TenantSetting.tenant_id == tenant_id, col(TenantSetting.key).in_(TENANT_BUDGETS)
    )
    return [tenant_budget(key, value) for key, value in sorted(await session.exec(settings))]


def require_currency(budget: Budget, currency: str) -> None:
    """Check that a budget can be compared with a card's prices.

    Raises:
        ConfigurationError: it cannot.
    """
    if budget.money.currency != currency:
        raise ConfigurationError(
            f"the budget is {budget}, and the rate card is in {currency}.",
            mend=f"Set the budget in {currency}, or import a rate card in {budget.money.currency}.",
        )


async def left_of(
    session: AsyncSession, tenant_id: int, campaign_id: int | None, budget: Budget, zone: ZoneInfo
) -> int:
    """Millionths that a new run would find in a budget now."""
    if budget.per is Per.RUN:
        return budget.money.micros
    account = account_of(
        budget,
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        run_id=UUID(int=0),
        now=await database_now(session),
        zone=zone,
    )
    row = await session.get(MoneyAccount, account.key)
    return budget.money.micros - (0 if row is None else row.spent + row.held)


async def lock_tenant(session: AsyncSession, tenant_id: int) -> Tenant:
    """One after the other within a tenant; on SQLite there is one writer anyway."""
    query = select(Tenant).where(Tenant.id == tenant_id)
    return (await session.exec(query.with_for_update(key_share=True))).one()


async def open_account(session: AsyncSession, account: Account, now: datetime) -> MoneyAccount:
    """What is spent and held in an account so far; it is made where nobody spent yet."""
    row = await session.get(MoneyAccount, account.key)
    if row is None:
        row = new_account(account, now)
        session.add(row)
    row.budget = account.budget.money.micros
    return row


def new_account(account: Account, now: datetime) -> MoneyAccount:
    """The row of an account that nothing was spent of yet."""
    money = account.budget.money
    return MoneyAccount(
        key=account.key,
        tenant_id=account.tenant_id,
        campaign_id=account.campaign_id,
        currency=money.currency,
        budget=money.micros,
        ends_at=account.ends_at,
        updated_at=now,
    )
