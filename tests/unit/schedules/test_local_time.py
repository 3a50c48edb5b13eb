"""Quiet hours and local times, against a walk over every minute that knows no shortcut."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.schedules.local_time import (
    QuietHours,
    next_local,
    open_everywhere,
    parse_clock,
    quiet_until,
    westernmost,
)

MINUTE = timedelta(minutes=1)
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin, forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin, back
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York, forward
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York, back
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, back by half an hour
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe, forward by half an hour
    datetime(2018, 11, 4, 3, tzinfo=UTC),  # São Paulo, forward at midnight
    datetime(2019, 2, 17, 2, tzinfo=UTC),  # São Paulo, back at midnight
]
clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
hours = st.tuples(clocks, clocks).filter(lambda pair: pair[0] != pair[1])
zones = st.sampled_from([ZoneInfo(name) for name in ZONES])
moments = st.one_of(
    st.builds(
        lambda change, minutes: change + minutes * MINUTE,
        st.sampled_from(CHANGES),
        st.integers(-36 * 60, 12 * 60),
    ),
    st.integers(0, 2 * 366 * 24 * 60).map(
        lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE
    ),
)


def clock(moment: datetime, zone: ZoneInfo) -> time:
    return moment.astimezone(zone).time()


def is_quiet(moment: datetime, zone: ZoneInfo, start: time, end: time) -> bool:
    """By counting minutes around the dial from ``start``."""

    def minute(at: time) -> int:
        return at.hour * 60 + at.minute

    length = (minute(end) - minute(start)) % 1440
    return (minute(clock(moment, zone)) - minute(start)) % 1440 < length


@given(moments, zones, hours)
def test_quiet_hours_end_at_the_first_minute_that_is_not_quiet(
    moment: datetime, zone: ZoneInfo, span: tuple[time, time]
) -> None:
    """Found by walking, minute after minute."""
    start, end = span
    walked = moment
    while is_quiet(walked, zone, start, end):
        walked += MINUTE

    found = quiet_until(moment, zone, QuietHours(start=start, end=end))

    assert found == (None if walked == moment else walked)


@given(moments, zones, clocks)
def test_a_local_time_is_the_first_minute_at_which_the_clock_reaches_it(
    moment: datetime, zone: ZoneInfo, at: time
) -> None:
    """A minute at which the clock shows it, or at which the clock has just jumped over it."""

    def reaches(now: datetime) -> bool:
        if clock(now, zone) == at:
            return True
        before = (now - MINUTE).astimezone(zone).replace(tzinfo=None)
        shown = now.astimezone(zone).replace(tzinfo=None)
        skipped = [before + (n + 1) * MINUTE for n in range(int((shown - before) / MINUTE))]
        return at in [one.time() for one in skipped]

    walked = moment
    while not (clock(walked, zone) == at or (walked > moment and reaches(walked))):
        walked += MINUTE

    assert next_local(moment, zone, at) == walked


@given(moments, st.lists(zones, min_size=1, max_size=3, unique=True), hours)
def test_what_is_open_everywhere_is_quiet_nowhere_and_nothing_before_it_is_open(
    moment: datetime, several: list[ZoneInfo], span: tuple[time, time]
) -> None:
    """Several zones of one number: each has to be awake."""
    start, end = span

    def is_open(now: datetime) -> bool:
        return not any(is_quiet(now, zone, start, end) for zone in several)

    found = open_everywhere(moment, several, QuietHours(start=start, end=end))

    walked = (moment + n * MINUTE for n in range(2 * 1440))
    first = next((now for now in walked if is_open(now)), None)
    if first is not None:
        assert found == first
    else:
        assert found is None or is_open(found)


@pytest.mark.parametrize(
    ("zone", "span", "moment", "end"),
    [
        pytest.param("Europe/Berlin", "21:00-08:00", "2026-11-21T20:00Z", "2026-11-22T07:00Z"),
        pytest.param("Europe/Berlin", "21:00-08:00", "2026-11-21T19:59:59.9Z", None),
        pytest.param("Europe/Berlin", "21:00-08:00", "2026-11-22T07:00Z", None),
        pytest.param("Europe/Berlin", "21:00-08:00", "2026-03-28T22:00Z", "2026-03-29T06:00Z"),
        pytest.param("Europe/Berlin", "21:00-08:00", "2026-10-24T22:00Z", "2026-10-25T07:00Z"),
        pytest.param(
            "Europe/Berlin", "22:00-02:30", "2026-03-28T23:00Z", "2026-03-29T01:00Z", id="skipped"
        ),
        pytest.param(
            "Europe/Berlin", "22:00-02:30", "2026-10-25T00:00Z", "2026-10-25T00:30Z", id="first"
        ),
        pytest.param(
            "Europe/Berlin", "22:00-02:30", "2026-10-25T01:10Z", "2026-10-25T01:30Z", id="again"
        ),
        pytest.param(
            "Australia/Lord_Howe", "22:00-02:15", "2026-10-03T12:00Z", "2026-10-03T15:30Z"
        ),
        pytest.param("America/Sao_Paulo", "21:00-00:00", "2018-11-04T01:00Z", "2018-11-04T03:00Z"),
        pytest.param("America/New_York", "21:00-08:00", "2026-03-08T05:00Z", "2026-03-08T12:00Z"),
    ],
)
def test_quiet_hours_where_clocks_change(
    zone: str, span: str, moment: str, end: str | None
) -> None:
    """The cases of the documentation."""
    found = quiet_until(datetime.fromisoformat(moment), ZoneInfo(zone), QuietHours.parse(span))

    assert found == (None if end is None else datetime.fromisoformat(end))


def test_a_local_time_within_the_repeated_hour_is_the_next_of_the_two() -> None:
    """Both are that time; whoever comes between them takes the second."""
    berlin = ZoneInfo("Europe/Berlin")
    before = next_local(datetime(2026, 10, 24, 12, tzinfo=UTC), berlin, time(2, 30))
    between = next_local(datetime(2026, 10, 25, 0, 45, tzinfo=UTC), berlin, time(2, 30))

    assert before == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert between == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_zones_too_far_apart_for_the_hours_have_no_common_one() -> None:
    """Somebody is always asleep: who asks has to decide otherwise."""
    far = [ZoneInfo("Pacific/Honolulu"), ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Europe/Berlin")]
    night = QuietHours.parse("20:00-10:00")

    assert open_everywhere(datetime(2026, 11, 21, tzinfo=UTC), far, night) is None


def test_the_westernmost_zone_has_the_earliest_hour() -> None:
    """Where it is nine there, it has been nine in the others."""
    russia = [ZoneInfo(name) for name in ("Asia/Kamchatka", "Europe/Kaliningrad", "Europe/Moscow")]

    assert westernmost(datetime(2026, 11, 21, tzinfo=UTC), russia).key == "Europe/Kaliningrad"


@pytest.mark.parametrize(
    "text", ["", "9", "24:00", "12:60", "a:b", "21:00-08:00", "-1:00", "１:00"]
)
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    """Also digits of other scripts: nobody writes them in a file."""
    with pytest.raises(ValueError, match="no time of day"):
        parse_clock(text)


@pytest.mark.parametrize("text", ["21:00", "21:00-21:00", "21-8", "00:00-24:00", "21:00-25:00"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    """Also a whole day: a campaign that is never allowed to send."""
    with pytest.raises(ValueError, match=r"hours|time of day"):
        QuietHours.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"), [("21:00-08:00", "21:00-08:00"), (" 9:30 - 24:00 ", "09:30-00:00")]
)
def test_hours_are_read_and_written(text: str, shown: str) -> None:
    """What is stored reads back as the same."""
    found = QuietHours.parse(text)

    assert str(found) == shown
    assert QuietHours.parse(str(found)) == found
