"""What answers to texts from handsets cost: charged when they are sent, and stopped by no budget.

An answer confirms what the law may want confirmed, so it goes out whatever is left. What it cost
counts in the tenant's budgets all the same: campaigns find so much less.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.costs.budget import account_of
from ignition_ext.costs.budget_store import lock_tenant, open_account, tenant_budgets
from ignition_ext.costs.card_store import card_in_force, find_price
from ignition_ext.costs.telling import warn
from ignition_ext.database import database_now


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCost:
    """What an answer cost.

    Attributes:
        card: the rate card's key.
        micros: of the segments that were accepted; None where the card has no price.
    """

    card: int
    currency: str
    micros: int | None


async def charge_answer(
    session: AsyncSession, *, tenant_id: int, number: str, accepted: int, uncertain: int = 0
) -> AnswerCost | None:
    """Price an answer by the card in force, and let it count in the tenant's budgets.

    Args:
        session: of ``Database.write()``; the tenant's money is locked until it ends.
        tenant_id: whose answer it is.
        number: to which it went.
        accepted: segments that the SMSC took.
        uncertain: segments that it may have taken: they count in budgets alone.

    Returns:
        None without a rate card.
    """
    card = await card_in_force(session, tenant_id)
    if card is None:
        return None
    assert card.id is not None
    price = await find_price(session, card.id, number)
    if price is not None:
        await _spend(session, tenant_id, card.currency, (accepted + uncertain) * price)
    micros = None if price is None else accepted * price
    return AnswerCost(card=card.id, currency=card.currency, micros=micros)


async def _spend(session: AsyncSession, tenant_id: int, currency: str, micros: int) -> None:
    budgets = await tenant_budgets(session, tenant_id)
    budgets = [budget for budget in budgets if budget.money.currency == currency]
    if not (budgets and micros):
        return
    tenant = await lock_tenant(session, tenant_id)
    now = await database_now(session)
    accounts = [
        account_of(
            budget,
            tenant_id=tenant_id,
            campaign_id=None,
            now=now,
            zone=ZoneInfo(tenant.timezone),
        )
        for budget in budgets
    ]
    rows = [await open_account(session, account, now) for account in accounts]
    for row in rows:
        row.spent += micros
        row.updated_at = now
    await session.flush()
    await warn(session, accounts, rows, now)
