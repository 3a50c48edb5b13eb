"""What may be spent: a budget for each run, day or month, and which period it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never
from uuid import UUID
from zoneinfo import ZoneInfo

from ignition_ext.costs.money import Money, amount_text, checked_currency, read_micros
from ignition_ext.errors import ConfigurationError

TENANT_BUDGETS = {"budget.day": "day", "budget.month": "month"}
"""A tenant's settings that are budgets, and for how long each is."""


class Per(StrEnum):
    """How long a budget has to last."""

    RUN = "run"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """So much, for so long."""

    money: Money
    per: Per

    def __str__(self) -> str:
        return f"{self.money} a {self.per}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One budget in one period.

    Attributes:
        key: ``campaign:7:run:<id>:EUR``, ``tenant:3:day:2026-11-21:EUR``.
        tenant_id: under whom it is.
        campaign_id: whose it is; None for the tenant's own.
        ends_at: when the next period begins; None for a run's.
    """

    key: str
    tenant_id: int
    budget: Budget
    campaign_id: int | None
    ends_at: datetime | None


def read_money(text: str) -> Money:
    """``150.00 EUR``.

    Raises:
        ValueError: it is no such amount, or none above 0.
    """
    amount, _, currency = text.strip().partition(" ")
    try:
        money = Money(micros=read_micros(amount), currency=checked_currency(currency))
    except ConfigurationError as error:
        raise ValueError(error.message.rstrip(".")) from error
    if not money.micros:
        raise ValueError("a budget is above 0")
    return money


def campaign_budget(definition: Mapping[str, Any]) -> Budget | None:
    """The budget of a stored campaign file; None without one."""
    said = definition.get("budget")
    if not said:
        return None
    money = read_money(f"{said['amount']} {said['currency']}")
    return Budget(money=money, per=Per(said["per"]))


def tenant_budget(key: str, value: str) -> Budget:
    """The budget that one of a tenant's settings says."""
    return Budget(money=read_money(value), per=Per(TENANT_BUDGETS[key]))


def account_of(
    budget: Budget,
    *,
    tenant_id: int,
    campaign_id: int | None,
    run_id: UUID | None = None,
    now: datetime,
    zone: ZoneInfo,
) -> Account:
    """Where money of that budget is spent from now; days and months are the zone's.

    Raises:
        ValueError: the budget is a run's, and none is named.
    """
    name, ends_at = period(budget.per, now, zone, run_id)
    owner = f"tenant:{tenant_id}" if campaign_id is None else f"campaign:{campaign_id}"
    return Account(
        key=f"{owner}:{budget.per}:{name}:{budget.money.currency}",
        tenant_id=tenant_id,
        budget=budget,
        campaign_id=campaign_id,
        ends_at=ends_at,
    )


def period(
    per: Per, now: datetime, zone: ZoneInfo, run_id: UUID | None
) -> tuple[str, datetime | None]:
    """The name of the period, and when it ends in UTC."""
    day = now.astimezone(zone).date()
    match per:
        case Per.RUN:
            if run_id is None:
                raise ValueError("a run's budget has an account for each run: name one")
            return str(run_id), None
        case Per.DAY:
            name, following = day.isoformat(), day + timedelta(days=1)
        case Per.MONTH:
            name = f"{day:%Y-%m}"
            following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        case _:
            assert_never(per)
    midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
    return name, midnight.astimezone(UTC)


def told(account: Account, spent: int, held: int) -> str:
    """``the budget of 150.00 EUR a day is used up: 149.95 EUR spent``."""
    money = account.budget.money
    whose = "the tenant's" if account.campaign_id is None else "the campaign's"
    holds = f", {amount_text(held, money.currency)} held for what is under way" if held else ""
    return (
        f"{whose} budget of {account.budget} has no money for the next message:"
        f" {amount_text(spent, money.currency)} {money.currency} spent{holds}"
    )
