"""Cron, against croniter where clocks are even and against Prefect itself where they change."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule as PrefectCron

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.cron import CronSchedule

CHANGES = [
    ("Europe/Berlin", "2027-03-27T20:00"),
    ("Europe/Berlin", "2027-10-30T20:00"),
    ("America/New_York", "2027-03-14T01:00"),
    ("America/New_York", "2027-11-07T00:00"),
    ("Australia/Lord_Howe", "2026-10-03T09:00"),
    ("Australia/Lord_Howe", "2027-04-03T09:00"),
    ("America/Sao_Paulo", "2018-11-03T22:00"),
    ("America/Sao_Paulo", "2019-02-16T20:00"),
]

minutes = st.one_of(
    st.sampled_from(["*", "*/15", "5-50/15", "0,30", "15,45"]), st.integers(0, 59).map(str)
)
hours = st.one_of(st.sampled_from(["*", "0-3", "23,0,1,2", "*/2"]), st.integers(0, 23).map(str))
days = st.sampled_from(["*", "1", "L", "1,15", "28-31", "*/10"])
months = st.sampled_from(["*", "2", "MAR,OCT", "*/3"])
week_days = st.sampled_from(["*", "MON-FRI", "0", "7"])
day_pairs = st.one_of(
    st.tuples(days, week_days), st.sampled_from([("*", "FRI#2"), ("*", "L5"), ("8-14", "FRI#2")])
)


@settings(max_examples=50)
@given(minutes, hours, day_pairs, months, st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))
def test_it_fires_when_croniter_says_so(
    minute: str, hour: str, day: tuple[str, str], month: str, start: datetime
) -> None:
    """In UTC, where no clock is ever changed."""
    expression = f"{minute} {hour} {day[0]} {month} {day[1]}"
    fired = CronSchedule.parse(expression).occurrences(start.replace(tzinfo=UTC), ZoneInfo("UTC"))
    oracle = croniter(expression, start.replace(tzinfo=UTC))

    for moment in islice(fired, 3):
        assert moment == oracle.get_next(datetime)
        assert croniter.match(expression, moment)


@settings(max_examples=60)
@given(minutes, hours, st.sampled_from(CHANGES))
@example("30", "2", CHANGES[0])
@example("5-50/15", "1,2", CHANGES[4])
def test_prefect_fires_at_the_same_times_when_clocks_change(
    minute: str, hour: str, change: tuple[str, str]
) -> None:
    """Twelve hours around each change; Prefect's own schedule is asked from hours before it."""
    expression, (zone, text) = f"{minute} {hour} * * *", change
    start = datetime.fromisoformat(text).replace(tzinfo=UTC)
    end = start + timedelta(hours=12)
    prefect = PrefectCron(cron=expression, timezone=zone)
    dates = asyncio.run(prefect.get_dates(n=1000, start=start + timedelta(seconds=1), end=end))

    fired = CronSchedule.parse(expression).occurrences(start, ZoneInfo(zone))

    ours = []
    for moment in fired:
        if moment > end:
            break
        ours.append(moment)
    assert ours == sorted(date.astimezone(UTC) for date in dates)


@settings(max_examples=30)
@given(st.lists(st.sampled_from([1, 2, 3, 28, 29, 30, 31]), min_size=1, max_size=4, unique=True))
@example([1, 11, 21, 31])
@example([1, 29, 31])
def test_it_is_known_which_days_prefect_skips(numbers: list[int]) -> None:
    """Those of March behind a 30 or 31 February; every other list Prefect reads as we do."""
    expression = f"0 8 {','.join(map(str, numbers))} * *"
    schedule, prefect = CronSchedule.parse(expression), PrefectCron(cron=expression)
    agree = True
    for year in (2027, 2028):
        start, end = (datetime(year, month, 1, tzinfo=UTC) for month in (2, 6))
        dates = asyncio.run(prefect.get_dates(n=1000, start=start, end=end))
        ours = list(islice(schedule.occurrences(start, ZoneInfo("UTC")), 40))
        agree = agree and [moment for moment in ours if moment < end] == list(dates)

    assert schedule.prefect_skips_march == (not agree)


def test_times_out_of_a_gap_keep_their_order() -> None:
    """On Lord Howe 02:15 does not exist on that day and comes before 01:50, or after it."""
    start = datetime(2026, 10, 3, 14, 30, tzinfo=UTC)
    fired = CronSchedule.parse("15,50 1,2 * * *").occurrences(
        start, ZoneInfo("Australia/Lord_Howe")
    )

    found = list(islice(fired, 4))

    assert found == sorted(set(found))


def test_sparse_expressions_are_found() -> None:
    """29 February, the next one and those of the rest of the century."""
    fired = CronSchedule.parse("0 0 29 2 *").occurrences(
        datetime(2026, 11, 21, tzinfo=UTC), ZoneInfo("UTC")
    )

    assert [moment.year for moment in islice(fired, 3)] == [2028, 2032, 2036]


@pytest.mark.parametrize(
    ("expression", "field", "words"),
    [
        ("*/10 * * * * *", "", "write `quartz:`"),
        ("0 0 8 * * ? 2027", "", "write `quartz:`"),
        ("0 8 * *", "", "cron has five"),
        ("0 8 ? * MON", "day of month", "quartz"),
        ("0 8 15W * *", "day of month", "quartz"),
        ("H 8 * * *", "minute", "'H'"),
        ("61 8 * * *", "", "not a cron expression"),
        ("0 0 30 2 *", "day of month", "never fires"),
        ("@reboot", "", "cron has five"),
    ],
)
def test_what_prefect_would_misread_is_refused(expression: str, field: str, words: str) -> None:
    """Above all six fields, whose last Prefect takes for seconds."""
    with pytest.raises(ScheduleError) as caught:
        CronSchedule.parse(expression)

    assert caught.value.field == field
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 8 * * MON-FRI", "At 08:00, on Monday to Friday."),
        ("*/15 * * * *", "Every 15th minute, every day."),
        ("@weekly", "At 00:00, on Sunday."),
        ("0 9 1,L * *", "At 09:00, on the 1st and last day of the month."),
        ("0 9 13 * FRI", "At 09:00, on the 13th of the month or on Friday."),
        ("0 9 * 1,6 FRI#2", "At 09:00, on the 2nd Friday of the month, in January and June."),
        (
            "0 9 13 * FRI#2",
            "At 09:00, on the 13th of the month when it is the 2nd Friday of the month.",
        ),
        ("30 9 * * L5", "At 09:30, on the last Friday of the month."),
    ],
)
def test_it_is_explained_in_words(expression: str, words: str) -> None:
    """Also that cron means either of its day fields when both are given."""
    assert CronSchedule.parse(expression).explain() == words
