"""How long a run would take, and what would be too late."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.budgets.rate import Limit
from ignition_ext.delivery.estimate import Estimate, estimate, usual_rate
from ignition_ext.delivery.limits import RateLimits
from ignition_ext.delivery.local_time import LocalTime, Zones
from ignition_ext.schedules.local_time import QuietHours

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BERLIN: Zones = (ZoneInfo("Europe/Berlin"),)
NEW_YORK: Zones = (ZoneInfo("America/New_York"),)
RATE = (1.0, "a rate")


def walked(
    held: dict[tuple[Zones, datetime | None], int],
    *,
    rules: LocalTime | None = None,
    deadline: timedelta | None = None,
    rate: tuple[float, str] | None = RATE,
) -> Estimate:
    counted = Counter(held)
    return estimate(counted, counted.total(), rate, now=NOW, rules=rules, deadline=deadline)


def test_a_plain_run_takes_its_messages_by_its_rate() -> None:
    """An hour for 3,600 at one a second."""
    found = estimate(Counter(), 3600, RATE, now=NOW, rules=None, deadline=None)

    assert (found.begin, found.end, found.late) == (NOW, NOW + timedelta(hours=1), 0)


def test_without_any_rate_nothing_is_guessed() -> None:
    """A first run against a server that nobody throttles."""
    found = estimate(Counter(), 3600, None, now=NOW, rules=None, deadline=None)

    assert (found.rate, found.end) == (None, None)


def test_quiet_hours_stop_the_run_over_night() -> None:
    """Ten hours of work from 13:00 in Berlin: eight until 21:00, two the next morning."""
    rules = LocalTime("Europe/Berlin", quiet=QuietHours.parse("21:00-08:00"))
    found = walked({(BERLIN, None): 36_000}, rules=rules)

    assert found.end == datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_local_times_follow_each_other() -> None:
    """Berlin at once, New York when its nine has come; the sender idles between."""
    later = NOW + timedelta(hours=2)
    rules = LocalTime("Europe/Berlin", at=time(9))
    found = walked({(NEW_YORK, later): 600, (BERLIN, None): 3600}, rules=rules)

    assert found.begin == NOW
    assert found.end == later + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("deadline", "late"), [(30, 1800), (60, 0), (0.5, 3570)], ids=["half", "none", "most"]
)
def test_what_would_come_after_the_deadline_is_counted(deadline: float, late: int) -> None:
    """It expires."""
    found = walked({(BERLIN, None): 3600}, deadline=timedelta(minutes=deadline))

    assert found.late == late


def test_what_is_held_beyond_the_deadline_is_late_even_without_a_rate() -> None:
    """The hour alone tells it."""
    found = walked(
        {(BERLIN, None): 5, (NEW_YORK, NOW + timedelta(hours=2)): 7},
        rate=None,
        deadline=timedelta(hours=1),
    )

    assert found.late == 7


@given(
    st.integers(1, 50_000),
    st.floats(0.05, 1000),
    st.times(timezones=st.none()).map(lambda at: at.replace(second=0, microsecond=0)),
    st.integers(1, 23),
)
def test_no_minute_of_the_run_lies_in_quiet_hours(
    messages: int, rate: float, start: time, length: int
) -> None:
    """However slow it is: the end is open, and the open time is enough for all."""
    end = (datetime.combine(NOW, start) + timedelta(hours=length)).time()
    rules = LocalTime("Europe/Berlin", quiet=QuietHours(start=start, end=end))
    found = walked({(BERLIN, None): messages}, rules=rules, rate=(rate, "a rate"))

    assert found.end is not None
    took = (found.end - NOW).total_seconds()
    assert took >= messages / rate - 1
    days = took / 86_400
    assert took <= messages / rate + (days + 2) * length * 3600


def test_the_least_rate_decides_and_is_named() -> None:
    """A domain's rate counts as much as the domain is of the audience."""
    limits = RateLimits(
        common=[Limit(key="campaign:a/b", rate=50)],
        domains=[lambda domain: Limit(key=f"domain:a:{domain}", rate=10)],
    )
    half = Counter({"x.example": 50, "y.example": 50})

    assert usual_rate(limits, None, half) == (20, "the rate domain:a:x.example")
    assert usual_rate(limits, (5.0, "past"), half) == (5.0, "past")
    assert usual_rate(RateLimits(), None, half) is None


def test_zones_without_a_common_hour_do_not_go_on_for_ever() -> None:
    """The tenant's zone decides for them."""
    far: Zones = tuple(
        ZoneInfo(name) for name in ("Pacific/Honolulu", "Pacific/Kiritimati", "Europe/Berlin")
    )
    rules = LocalTime("Europe/Berlin", quiet=QuietHours.parse("20:00-10:00"))
    found = walked({(far, None): 600}, rules=rules)

    assert found.end is not None
