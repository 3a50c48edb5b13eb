"""Hourly, weekly, monthly, once: against Prefect's cron where that can say the same."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule as PrefectCron

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.recurring import Hourly, Monthly, Once, Weekly, read_time
from ignition_ext.schedules.schedule import Schedule

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]
times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
early = st.sampled_from([time(0, 0), time(0, 30), time(1, 45), time(2, 15), time(2, 30)])


def pairs(at: time) -> list[tuple[Schedule, str]]:
    """Schedules beside the cron that means the same."""
    clock = f"{at.minute} {at.hour}"
    return [
        (Hourly(minute=at.minute), f"{at.minute} * * * *"),
        (Weekly(at=at), f"{clock} * * *"),
        (Weekly(at=at, days=(1, 4)), f"{clock} * * SUN,WED"),
        (Monthly(at=at, days=(1, 15)), f"{clock} 1,15 * *"),
        (Monthly(at=at, days=(-1,)), f"{clock} L * *"),
    ]


@settings(max_examples=15)
@given(
    st.one_of(early, times),
    st.sampled_from(ZONES),
    st.sampled_from(["2018-11-02", "2019-02-15", "2026-10-02", "2027-03-12", "2027-10-29"]),
)
def test_they_fire_as_the_cron_that_means_the_same(at: time, zone: str, day: str) -> None:
    """Prefect's own, over days on which clocks change."""
    start = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
    for schedule, cron in pairs(at):
        prefect = PrefectCron(cron=cron, timezone=zone)
        dates = asyncio.run(prefect.get_dates(n=12, start=start + timedelta(seconds=1)))
        found = islice(schedule.occurrences(start, ZoneInfo(zone)), 12)
        assert list(found) == [date.astimezone(UTC) for date in dates], cron


def test_days_are_counted_from_the_end_too() -> None:
    """The last day but one, which cron cannot say."""
    found = Monthly(at=time(9), days=(-2,)).occurrences(
        datetime(2028, 1, 31, tzinfo=UTC), ZoneInfo("UTC")
    )
    assert [f"{moment:%m-%d}" for moment in islice(found, 3)] == ["02-28", "03-30", "04-29"]


def test_once_is_a_moment_or_a_time_on_the_wall() -> None:
    """It never comes twice."""
    berlin, before = ZoneInfo("Europe/Berlin"), datetime(2027, 6, 30, tzinfo=UTC)
    wall = Once(at=datetime(2027, 7, 1, 9))
    moment = Once(at=datetime(2027, 7, 1, 9, tzinfo=timezone(timedelta(hours=-3))))

    assert list(wall.occurrences(before, berlin)) == [datetime(2027, 7, 1, 7, tzinfo=UTC)]
    assert list(moment.occurrences(before, berlin)) == [datetime(2027, 7, 1, 12, tzinfo=UTC)]
    assert list(wall.occurrences(datetime(2027, 7, 1, 7, tzinfo=UTC), berlin)) == []


@pytest.mark.parametrize("text", ["24:00", "9", "09:60", "nine", "09:00:61", "٠9:00", ""])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    """A number of hours alone could be anything."""
    with pytest.raises(ScheduleError, match="time of day"):
        read_time(text)


@given(times)
def test_a_time_of_day_is_read_as_it_is_written(at: time) -> None:
    """With and without seconds."""
    assert read_time(f"{at:%H:%M}") == at == read_time(f"{at:%H:%M:%S}")


@pytest.mark.parametrize("days", [(), (0,), (8,), (32, -1)])
def test_days_that_do_not_exist_are_refused(days: tuple[int, ...]) -> None:
    """By the week and by the month."""
    with pytest.raises(ScheduleError, match="day of"):
        Weekly(at=time(9), days=days)
    with pytest.raises(ScheduleError, match="day of a month"):
        Monthly(at=time(9), days=() if days == (8,) else days)
    with pytest.raises(ScheduleError, match="not a minute"):
        Hourly(minute=60)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Hourly(minute=15), "Every hour at minute 15."),
        (Weekly(at=time(9)), "At 09:00, every day."),
        (Weekly(at=time(9), days=(1, 2)), "At 09:00, on Monday and Sunday."),
        (
            Monthly(at=time(9, 0, 30), days=(1, -1)),
            "At 09:00:30, on the 1st and last day of the month.",
        ),
        (Once(at=datetime(2027, 1, 2, 3, 4)), "Once, on 2027-01-02 at 03:04."),
    ],
)
def test_they_are_explained_in_words(schedule: Schedule, words: str) -> None:
    """One sentence."""
    assert schedule.explain() == words
