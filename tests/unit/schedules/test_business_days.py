"""Business days, against a walk over the days with the package's plain list of holidays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, islice
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.business import BusinessDay, Calendar, Roll, RolledMonthly
from ignition_ext.schedules.recurring import Monthly

DAY, NINE, YEARS = timedelta(days=1), time(9), range(2025, 2029)
PUBLIC = {
    "DE": holidays.country_holidays("DE", years=YEARS),
    "DE-BY": holidays.country_holidays("DE", subdiv="BY", years=YEARS),
    "US": holidays.country_holidays("US", years=YEARS),
    "BR-SP": holidays.country_holidays("BR", subdiv="SP", years=YEARS),
    "NYSE": holidays.financial_holidays("NYSE", years=YEARS),
}
OWN = frozenset({date(2026, 12, 24), date(2026, 12, 31), date(2027, 6, 1)})
codes = st.sampled_from(sorted(PUBLIC))
START = datetime(2026, 1, 1, tzinfo=UTC)


def workdays(code: str) -> list[date]:
    """From December 2025 to December 2028."""
    every = (date(2025, 12, 1) + n * DAY for n in range(3 * 366))
    return [d for d in every if d.weekday() < 5 and d not in PUBLIC[code] and d not in OWN]


def months(days: list[date]) -> Iterator[tuple[tuple[int, int], list[date]]]:
    """By month."""
    for key, group in groupby(days, key=lambda d: (d.year, d.month)):
        yield key, list(group)


def fired(schedule: BusinessDay | RolledMonthly, count: int) -> list[date]:
    """The first days in UTC, at nine."""
    found = list(islice(schedule.occurrences(START, ZoneInfo("UTC")), count))
    assert {moment.time() for moment in found} <= {NINE}
    return [moment.date() for moment in found]


@settings(max_examples=25)
@given(codes, st.integers(-23, 23).filter(bool))
def test_the_nth_business_day_is_the_nth_that_is_no_holiday(code: str, number: int) -> None:
    """For two years; a month that has no such day is left out."""
    schedule = BusinessDay(number=number, at=NINE, calendar=Calendar.load(code, dates=OWN))
    index = number - 1 if number > 0 else number
    expected = [
        days[index]
        for key, days in months(workdays(code))
        if len(days) >= abs(number) and (2026, 1) <= key < (2028, 1)
    ]

    assert fired(schedule, len(expected)) == expected


@pytest.mark.parametrize("number", [22, 23, -22, -23])
def test_a_month_with_too_few_is_rolled(number: int) -> None:
    """Forward behind the end that it was counted to, or back before it."""
    days, calendar = workdays("DE"), Calendar.load("DE", dates=OWN)
    forward, back = [], []
    for key, month in months(days):
        if (2025, 12) < key < (2028, 1) or (number > 0 and key == (2025, 12)):
            enough = len(month) >= abs(number)
            index = days.index(month[-1] if number > 0 else month[0])
            day = month[number - 1 if number > 0 else number] if enough else None
            forward.append(day or days[index + 1 if number > 0 else index])
            back.append(day or days[index if number > 0 else index - 1])

    for roll, walked in ((Roll.FORWARD, forward), (Roll.BACK, back)):
        schedule = BusinessDay(number=number, at=NINE, calendar=calendar, roll=roll)
        expected = [day for day in walked if day >= START.date()]
        assert fired(schedule, len(expected)) == expected


@settings(max_examples=25)
@given(codes, st.sampled_from([1, 15, 31, -1]), st.sampled_from(Roll))
def test_a_day_of_the_month_is_rolled_to_a_business_day(code: str, day: int, roll: Roll) -> None:
    """Two years of the 1st, 15th, 31st and last day."""
    calendar = Calendar.load(code, dates=OWN)
    schedule = RolledMonthly(monthly=Monthly(at=NINE, days=(day,)), calendar=calendar, roll=roll)
    work = workdays(code)
    every = (date(2026, 1, 1) + n * DAY for n in range(700))
    wanted = [d for d in every if d.day == day or (day == -1 and (d + DAY).day == 1)]
    expected = []
    for wish in wanted:
        match roll:
            case Roll.NONE:
                expected += [wish] if wish in work else []
            case Roll.FORWARD:
                expected.append(next(d for d in work if d >= wish))
            case Roll.BACK:
                expected.append(next(d for d in reversed(work) if d <= wish))
    expected = [found for found in expected if found >= START.date()]

    assert fired(schedule, len(expected)) == expected


def test_the_hour_is_the_one_on_the_wall() -> None:
    """Nine in Berlin is seven in summer and eight in winter."""
    schedule = BusinessDay(number=-1, at=NINE, calendar=Calendar.load("DE-BY"))
    moments = islice(
        schedule.occurrences(datetime(2026, 9, 1, tzinfo=UTC), ZoneInfo("Europe/Berlin")), 3
    )

    assert [f"{moment:%d %H}" for moment in moments] == ["30 07", "30 08", "30 08"]


def test_it_ends_where_the_calendar_ends() -> None:
    """No holidays are known beyond it, so nobody could say which day is one."""
    calendar = Calendar.load("DE")
    schedule = BusinessDay(number=1, at=NINE, calendar=calendar)
    start = datetime(calendar.last_year, 11, 15, tzinfo=UTC)

    assert len(list(schedule.occurrences(start, ZoneInfo("UTC")))) == 1


@pytest.mark.parametrize("code", ["XX", "DE-ZZ", "", "NYSE-BY"])
def test_an_unknown_calendar_is_refused(code: str) -> None:
    """With how one is written."""
    with pytest.raises(ScheduleError, match="DE-BY") as caught:
        Calendar.load(code)
    assert caught.value.field == "calendar"


@pytest.mark.parametrize("number", [0, 24, -24])
def test_no_month_has_such_a_business_day(number: int) -> None:
    """The error says how far it goes."""
    with pytest.raises(ScheduleError, match="1 to 23"):
        BusinessDay(number=number, at=NINE, calendar=Calendar.load("DE"))


def test_it_is_explained_in_words() -> None:
    """Which day, by which calendar, and what happens to days that are none."""
    calendar = Calendar.load("de-by", dates=OWN)
    last = BusinessDay(number=-1, at=NINE, calendar=calendar, roll=Roll.BACK)
    rolled = RolledMonthly(monthly=Monthly(at=NINE, days=(15,)), calendar=calendar)

    assert last.explain() == (
        "At 09:00, on the last business day of the month (calendar DE-BY and 3 dates of one's own);"
        " rolled back where a month has fewer."
    )
    assert rolled.explain() == (
        "At 09:00, on the 15th of the month, only on business days (calendar DE-BY)."
    )
