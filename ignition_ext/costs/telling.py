"""What is said of a budget that is nearly used up, or is: to the sender, and to who listens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.costs.budget import Account, told
from ignition_ext.costs.money import amount_text
from ignition_ext.models import MoneyAccount
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.values import RunRef

SOON = timedelta(seconds=5)
"""When to look again while others hold money that may come back."""
LATER = timedelta(minutes=15)
"""The same when all is spent: a budget that is raised is noticed so late at most."""
WARN_PERCENT = 80
"""Of a budget used: once in its period somebody is told, while there is time to act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why there was not enough, and when to ask again."""

    text: str
    retry_after: timedelta


async def shortage_of(
    session: AsyncSession,
    run: RunRef,
    accounts: Sequence[Account],
    rows: Sequence[MoneyAccount],
    price: int,
    now: datetime,
) -> Shortage:
    """Say which budget has no money for this message; the first time it is announced."""
    account, row = next(
        (account, row)
        for account, row in zip(accounts, rows, strict=True)
        if row.budget - row.spent - row.held < price
    )
    text = told(account, row.spent, row.held)
    if row.held:
        return Shortage(text=text, retry_after=SOON)
    if row.exhausted_at is None:
        row.exhausted_at = now
        name = EventName.BUDGET_EXHAUSTED
        await announce(session, [_announcement(name, account, row, run=run)])
    wait = LATER if account.ends_at is None else min(LATER, account.ends_at - now)
    return Shortage(text=text, retry_after=max(wait, timedelta(seconds=1)))


async def warn(
    session: AsyncSession,
    accounts: Sequence[Account],
    rows: Sequence[MoneyAccount],
    now: datetime,
) -> None:
    for account, row in zip(accounts, rows, strict=True):
        used = row.spent + row.held
        if row.warned_at is None and 100 * used >= WARN_PERCENT * row.budget:
            row.warned_at = now
            name = EventName.BUDGET_WARNING
            await announce(session, [_announcement(name, account, row)])


def _announcement(
    name: EventName, account: Account, row: MoneyAccount, *, run: RunRef | None = None
) -> Announcement:
    return Announcement(
        tenant_id=row.tenant_id,
        name=name,
        subject=f"budget:{row.key}",
        payload={
            "budget": amount_text(row.budget, row.currency),
            "spent": amount_text(row.spent, row.currency),
            "held": amount_text(row.held, row.currency),
            "currency": row.currency,
            "per": account.budget.per.value,
            "campaign_id": row.campaign_id,
            "run_id": None if run is None else str(run.id),
            "ends_at": None
            if account.ends_at is None
            else account.ends_at.astimezone(UTC).isoformat(),
        },
    )
