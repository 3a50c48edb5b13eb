"""Budgets as values: amounts with a currency, and which day or month it is where the tenant is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.costs.budget import Account, Budget, Per, account_of, period, read_money, told
from ignition_ext.costs.money import Money

RUN = UUID(int=7)
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia")
MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC)
)


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from([Per.DAY, Per.MONTH]))
def test_a_period_holds_its_moment_and_ends_with_the_next(
    now: datetime, zone: str, per: Per
) -> None:
    """Also where clocks change at midnight, or a whole day is left out."""
    local = ZoneInfo(zone)

    name, ends_at = period(per, now, local, RUN)

    assert ends_at is not None
    assert ends_at > now
    moment = timedelta(seconds=1)
    assert period(per, ends_at - moment, local, RUN)[0] == name
    assert period(per, ends_at, local, RUN)[0] != name
    length = timedelta(hours=26) if per is Per.DAY else timedelta(days=31, hours=2)
    assert ends_at - now <= length


@pytest.mark.parametrize(
    ("per", "name", "ends"),
    [
        (Per.DAY, "2026-12-31", datetime(2026, 12, 31, 23, tzinfo=UTC)),
        (Per.MONTH, "2026-12", datetime(2026, 12, 31, 23, tzinfo=UTC)),
        (Per.RUN, str(RUN), None),
    ],
)
def test_days_and_months_are_the_tenants(per: Per, name: str, ends: datetime | None) -> None:
    """An hour before midnight in Berlin, on the last day of a year."""
    now = datetime(2026, 12, 31, 22, tzinfo=UTC)

    assert period(per, now, ZoneInfo("Europe/Berlin"), RUN) == (name, ends)


def test_an_account_is_one_budget_in_one_period() -> None:
    """Its key tells whose, and in which currency."""
    budget = Budget(money=Money(micros=150_000_000, currency="EUR"), per=Per.DAY)
    now = datetime(2026, 11, 21, 8, tzinfo=UTC)

    def account(campaign_id: int | None) -> Account:
        zone = ZoneInfo("UTC")
        return account_of(
            budget, tenant_id=3, campaign_id=campaign_id, run_id=RUN, now=now, zone=zone
        )

    assert account(None).key == "tenant:3:day:2026-11-21:EUR"
    assert account(7).key == "campaign:7:day:2026-11-21:EUR"
    assert told(account(7), 149_950_000, 20_000) == (
        "the campaign's budget of 150.00 EUR a day has no money for the next message:"
        " 149.95 EUR spent, 0.02 held for what is under way"
    )
    assert account(7).ends_at == datetime(2026, 11, 22, tzinfo=UTC)


def test_a_runs_budget_wants_a_run() -> None:
    """The others have an account without one."""
    budget = Budget(money=Money(micros=1, currency="EUR"), per=Per.RUN)
    now = datetime(2026, 11, 21, 8, tzinfo=UTC)

    with pytest.raises(ValueError, match="name one"):
        account_of(budget, tenant_id=3, campaign_id=7, now=now, zone=ZoneInfo("UTC"))


@pytest.mark.parametrize("text", ["", "150", "150 EURO", "0 EUR", "EUR 150", "1.0000001 EUR"])
def test_what_is_no_money_is_refused(text: str) -> None:
    """An amount above 0, and its currency."""
    with pytest.raises(ValueError, match=r"\w"):
        read_money(text)


def test_money_is_read_as_it_is_written() -> None:
    """The currency in any letters."""
    assert read_money("150.00 eur") == Money(micros=150_000_000, currency="EUR")
