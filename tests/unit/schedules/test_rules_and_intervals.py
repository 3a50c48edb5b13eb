"""Recurrence rules against python-dateutil and Prefect, intervals against counting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import IntervalSchedule as PrefectInterval
from prefect.server.schemas.schedules import RRuleSchedule as PrefectRule

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.interval import IntervalSchedule
from ignition_ext.schedules.rrule import RuleSchedule

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
CHANGES = [
    ("Europe/Berlin", "2027-03-27T12:00"),
    ("Europe/Berlin", "2027-10-30T12:00"),
    ("America/New_York", "2027-03-13T12:00"),
    ("America/New_York", "2027-11-06T12:00"),
    ("Australia/Lord_Howe", "2026-10-03T01:00"),
    ("Australia/Lord_Howe", "2027-04-03T01:00"),
    ("America/Sao_Paulo", "2018-11-03T12:00"),
    ("America/Sao_Paulo", "2019-02-16T12:00"),
]
rules = st.one_of(
    st.builds("FREQ=DAILY;INTERVAL={}".format, st.integers(1, 5)),
    st.builds("FREQ=WEEKLY;BYDAY={}".format, st.sampled_from(["MO", "TU,SU", "MO,TU,WE,TH,FR"])),
    st.builds("FREQ=MONTHLY;BYDAY={}".format, st.sampled_from(["1MO", "-1FR", "2SU"])),
    st.builds("FREQ=MONTHLY;BYMONTHDAY={}".format, st.sampled_from(["1", "-1", "15,28"])),
    st.just("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"),
    st.just("FREQ=HOURLY;INTERVAL=3;BYMINUTE=0,40"),
    st.just("FREQ=DAILY;COUNT=4000"),
    st.just("FREQ=DAILY;UNTIL=20271101T000000"),
)
hours = st.sampled_from(["000000", "001500", "013000", "014500", "021500", "023000", "090000"])


def moment(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def texts(moments: Iterable[datetime]) -> list[str]:
    """Days and times, in UTC."""
    return [f"{found:%dT%H:%M}" for found in moments]


@settings(max_examples=50)
@given(rules, hours, st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)))
def test_a_rule_fires_when_dateutil_says_so(rule: str, hour: str, start: datetime) -> None:
    """In UTC, where no clock is ever changed."""
    text = f"DTSTART:20240229T{hour}\nRRULE:{rule}"
    fired = RuleSchedule.parse(text).occurrences(start.replace(tzinfo=UTC), UTC_ZONE)

    expected = islice(rrulestr(text).xafter(start), 6)

    assert [found.replace(tzinfo=None) for found in islice(fired, 6)] == list(expected)


@settings(max_examples=50)
@given(rules, hours, st.sampled_from(CHANGES))
def test_prefect_fires_a_rule_at_the_same_times_when_clocks_change(
    rule: str, hour: str, change: tuple[str, str]
) -> None:
    """Three days around each change."""
    text, (zone, start_text) = f"DTSTART:20180101T{hour}\nRRULE:{rule}", change
    start = moment(start_text)
    prefect = PrefectRule(rrule=text, timezone=zone)
    dates = asyncio.run(prefect.get_dates(n=1000, start=start, end=start + timedelta(days=3)))

    ours = []
    for found in RuleSchedule.parse(text).occurrences(
        start - timedelta(microseconds=1), ZoneInfo(zone)
    ):
        if found > start + timedelta(days=3):
            break
        ours.append(found)

    assert ours == sorted({date.astimezone(UTC) for date in dates})


def test_times_with_z_are_in_utc_whatever_the_zone() -> None:
    """Dates as the design writes them, beside a rule that runs by UTC."""
    dates = RuleSchedule.parse("RDATE:20270101T080000Z,20280229T120000Z")
    daily = RuleSchedule.parse("DTSTART:20270630T080000Z\nRRULE:FREQ=DAILY;UNTIL=20270702T080000Z")
    start = moment("2026-12-01T00:00")

    assert texts(dates.occurrences(start, BERLIN)) == ["01T08:00", "29T12:00"]
    assert texts(daily.occurrences(start, BERLIN)) == ["30T08:00", "01T08:00", "02T08:00"]


def test_a_rule_that_never_comes_ends() -> None:
    """30 February: the search stops where the schedules' time ends."""
    rule = RuleSchedule.parse("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30")

    assert list(rule.occurrences(moment("2026-12-01T00:00"), BERLIN)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FREQ=SECONDLY", "once an hour"),
        ("FREQ=DAILY;BYSECOND=0,30", "once an hour"),
        ("FREQ=SOMETIMES", "RFC 5545"),
        ("", "RFC 5545"),
        ("DTSTART;TZID=Europe/Berlin:20270101T080000\nRRULE:FREQ=DAILY", "timezone"),
        ("FREQ=DAILY;UNTIL=20270101T080000Z", "end in Z"),
        ("DTSTART:20270101T080000\nRRULE:FREQ=DAILY;UNTIL=20280101T080000Z", "end in Z"),
        ("RDATE:" + "20270101T080000," * 500, "at most"),
    ],
)
def test_a_rule_that_prefect_could_not_keep_is_refused(text: str, words: str) -> None:
    """With what to write instead."""
    with pytest.raises(ScheduleError, match=words) as caught:
        RuleSchedule.parse(text)
    assert caught.value.field == "rrule"


@settings(max_examples=60)
@given(
    st.integers(1, 40_000).map(lambda minutes: timedelta(minutes=minutes)),
    st.datetimes(datetime(2018, 1, 1), datetime(2040, 1, 1)),
)
def test_an_interval_counts_from_its_anchor(every: timedelta, start: datetime) -> None:
    """In UTC: multiples of it since 2020, the first three later than the start."""
    anchor, after = moment("2020-01-01T00:00"), start.replace(tzinfo=UTC)
    count = max(0, (after - anchor) // every + 1)

    fired = islice(IntervalSchedule(every=every).occurrences(after, UTC_ZONE), 3)

    assert list(fired) == [anchor + (count + n) * every for n in range(3)]


def test_hours_go_by_the_clock_of_the_world_and_days_by_the_wall() -> None:
    """6h is elapsed time over a change of the clock, 24h is midnight before and after it."""
    start = moment("2027-03-27T12:00")
    hours, daily = (IntervalSchedule(every=timedelta(hours=n)) for n in (6, 24))

    assert texts(islice(hours.occurrences(start, BERLIN), 3)) == [
        "27T17:00",
        "27T23:00",
        "28T05:00",
    ]
    assert texts(islice(daily.occurrences(start, BERLIN), 3)) == [
        "27T23:00",
        "28T22:00",
        "29T22:00",
    ]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change[0]} {change[1][:10]}")
@pytest.mark.parametrize("minutes", [1, 20, 90, 360])
def test_prefect_counts_short_intervals_the_same(change: tuple[str, str], minutes: int) -> None:
    """Also over changes of the clock."""
    (zone, text), every = change, timedelta(minutes=minutes)
    start = moment(text)
    anchor = datetime(2018, 1, 1)
    prefect = PrefectInterval(
        interval=every, timezone=zone, anchor_date=anchor.replace(tzinfo=ZoneInfo(zone))
    )
    dates = asyncio.run(prefect.get_dates(n=30, start=start + timedelta(seconds=1)))

    fired = IntervalSchedule(every=every, anchor=anchor).occurrences(start, ZoneInfo(zone))

    assert list(islice(fired, 30)) == [date.astimezone(UTC) for date in dates]


@pytest.mark.parametrize("every", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=1.5)])
def test_an_interval_is_whole_seconds(every: timedelta) -> None:
    """Nothing here could fire in between."""
    with pytest.raises(ScheduleError, match="whole seconds"):
        IntervalSchedule(every=every)


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (timedelta(weeks=2), "Every 2 weeks"),
        (timedelta(days=1), "Every day"),
        (timedelta(hours=36), "Every 36 hours"),
        (timedelta(seconds=90), "Every 90 seconds"),
    ],
)
def test_an_interval_is_explained(every: timedelta, words: str) -> None:
    """In the largest unit that fits, with where it counts from."""
    text = IntervalSchedule(every=every).explain()
    assert text == f"{words}, counted from 2020-01-01 00:00."
