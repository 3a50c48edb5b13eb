"""Quartz expressions, against a walk over every second and against what Quartz itself fired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.quartz import QuartzSchedule

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
LORD_HOWE, SAO_PAULO = "Australia/Lord_Howe", "America/Sao_Paulo"
# An hour or two before each change of the clock, and a month's end, a year's end, a leap day.
MOMENTS = [
    (BERLIN, "2027-03-28T00:20"),
    (BERLIN, "2027-10-30T23:20"),
    (NEW_YORK, "2027-03-14T06:20"),
    (NEW_YORK, "2027-11-07T04:20"),
    (LORD_HOWE, "2026-10-03T14:40"),
    (LORD_HOWE, "2027-04-03T13:40"),
    (SAO_PAULO, "2018-11-04T02:20"),
    (SAO_PAULO, "2019-02-17T00:20"),
    ("UTC", "2027-12-31T22:40"),
    ("UTC", "2028-02-28T22:40"),
]


def value_of(text: str, names: str) -> int:
    """A number, or the place of a name in the list of its names."""
    return int(text) if text.isdigit() else names.split().index(text) + 1


def item_holds(item: str, value: int, least: int, most: int, names: str = "") -> bool:
    """Whether a value is in ``a``, ``a-b``, ``a/s``, ``*``…: by distance, not by a list."""
    base, _, step = item.partition("/")
    first, _, last = base.partition("-")
    start = least if first in ("*", "") else value_of(first, names)
    end = value_of(last or first, names) if last or (not step and first != "*") else most
    span = most - least + 1
    distance = (value - start) % span
    return distance <= (end - start) % span and distance % int(step or 1) == 0


def holds(text: str, value: int, least: int, most: int, names: str = "") -> bool:
    """Whether a value is in one of a field's items."""
    return any(item_holds(item, value, least, most, names) for item in text.split(","))


def nearest_weekday(day: date, wanted: date) -> bool:
    """Whether that is the weekday of its month which is nearest to the wanted day."""
    month = [wanted.replace(day=1) + n * DAY for n in range(31)]
    workdays = [d for d in month if d.month == wanted.month and d.weekday() < 5]
    return day == min(workdays, key=lambda d: abs(d - wanted))


def month_day_holds(item: str, day: date) -> bool:
    """The field day of month, said again in terms of dates."""
    last = (day.replace(day=28) + 4 * DAY).replace(day=1) - DAY
    base = item.removesuffix("W")
    if base.startswith("L"):
        wanted = last - int(base[2:] or 0) * DAY
    elif base != item:
        if int(base) > last.day:
            return False
        wanted = day.replace(day=int(base))
    else:
        return item_holds(item, day.day, 1, 31)
    if wanted.month != day.month:
        return False
    return nearest_weekday(day, wanted) if base != item else day == wanted


def day_holds(of_month: str, of_week: str, day: date) -> bool:
    """Whether a date is meant by the two day fields."""
    if of_week == "?":
        return any(month_day_holds(item, day) for item in of_month.split(","))
    names, number = "SUN MON TUE WED THU FRI SAT", day.isoweekday() % 7 + 1
    if of_week == "L":
        return number == 7
    if of_week.endswith("L"):
        return number == value_of(of_week[:-1], names) and (day + 7 * DAY).month != day.month
    which, _, nth = of_week.partition("#")
    if nth:
        return number == value_of(which, names) and (day.day + 6) // 7 == int(nth)
    return holds(of_week, number, 1, 7, names)


def walk(expression: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Looks at the clock each second; in a repeated hour only the second time counts."""
    seconds, minutes, hours, of_month, months, of_week = expression.split()
    where, moment = ZoneInfo(zone), start
    names = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
    while moment < end:
        moment += SECOND
        shown = moment.astimezone(where)
        if (
            holds(seconds, shown.second, 0, 59)
            and holds(minutes, shown.minute, 0, 59)
            and holds(hours, shown.hour, 0, 23)
            and holds(months, shown.month, 1, 12, names)
            and day_holds(of_month, of_week, shown.date())
            and shown.replace(fold=1).utcoffset() == shown.utcoffset()
        ):
            yield moment


def between(schedule: QuartzSchedule, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """What fires after ``start`` and not after ``end``."""
    found = []
    for moment in schedule.occurrences(start, ZoneInfo(zone)):
        if moment > end:
            break
        found.append(moment)
    return found


def field(least: int, most: int) -> st.SearchStrategy[str]:
    """Any way to write numbers."""
    number = st.integers(least, most).map(str)
    step = st.integers(1, min(most, 20)).map(str)
    span = st.builds("{}-{}".format, number, number)
    item = st.one_of(
        number,
        span,
        st.builds("{}/{}".format, st.one_of(number, span, st.just("*"), st.just("")), step),
    )
    return st.one_of(st.just("*"), item, st.lists(item, min_size=2, max_size=3).map(",".join))


month_days = st.one_of(
    field(1, 31),
    st.just("L"),
    st.just("LW"),
    st.integers(0, 30).map("L-{}".format),
    st.integers(0, 30).map("L-{}W".format),
    st.integers(1, 28).map("{}W".format),
    st.lists(st.integers(1, 31).map("{}W".format), min_size=2, max_size=3).map(",".join),
    st.builds("{},L-{}".format, st.integers(1, 31), st.integers(0, 30)),
)
day_name = st.sampled_from(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "1", "4", "7"])
week_days = st.one_of(
    field(1, 7),
    st.just("L"),
    day_name,
    st.builds("{}-{}".format, day_name, day_name),
    st.builds("{}#{}".format, day_name, st.integers(1, 5)),
    day_name.map("{}L".format),
)
days = st.one_of(month_days.map(lambda d: (d, "?")), week_days.map(lambda d: ("?", d)))


def parsed(expression: str) -> QuartzSchedule | None:
    """The schedule; None for a combination that has no such day in any month."""
    try:
        return QuartzSchedule.parse(expression)
    except ScheduleError as error:
        if "never fires" in str(error):
            return None
        raise


@settings(max_examples=60)
@given(field(0, 59), field(0, 59), field(0, 23), days, st.sampled_from(MOMENTS))
@example("0", "0/15", "*", ("*", "?"), MOMENTS[1])
@example("*/30", "10-50/20", "22-2", ("?", "*"), MOMENTS[5])
def test_it_fires_at_each_second_that_a_walk_over_the_seconds_finds(
    seconds: str, minutes: str, hours: str, day: tuple[str, str], moment: tuple[str, str]
) -> None:
    """Over two and a half hours around changes of the clock, ends of months and years."""
    expression = f"{seconds} {minutes} {hours} {day[0]} * {day[1]}"
    schedule = parsed(expression)
    if schedule is None:
        return
    zone, start = moment[0], datetime.fromisoformat(moment[1]).replace(tzinfo=UTC)
    end = start + timedelta(hours=2.5)

    assert between(schedule, zone, start, end) == list(walk(expression, zone, start, end))


@settings(max_examples=80)
@given(days, st.one_of(st.just("*"), field(1, 12), st.just("NOV-FEB")), st.integers(2024, 2099))
def test_it_fires_on_each_day_that_a_walk_over_the_days_finds(
    day: tuple[str, str], months: str, year: int
) -> None:
    """Over two years, with every way to say a day."""
    expression = f"0 0 12 {day[0]} {months} {day[1]}"
    schedule = parsed(expression)
    if schedule is None:
        return
    start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 2, 1, 1, tzinfo=UTC)
    names = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
    expected = [
        noon
        for noon in (start + timedelta(hours=12) + n * DAY for n in range((end - start).days))
        if holds(months, noon.month, 1, 12, names) and day_holds(*day, noon.date())
    ]

    assert between(schedule, "UTC", start, end) == expected


@pytest.mark.parametrize(
    ("zone", "expression", "after", "expected"),
    [
        (BERLIN, "0 30 2 * * ?", "2027-03-26T12", "27T01:30 29T00:30 30T00:30"),
        (BERLIN, "0 15 2,3 * * ?", "2027-03-27T12", "28T01:15 29T00:15 29T01:15"),
        (BERLIN, "0 30 2 * * ?", "2027-10-29T12", "30T00:30 31T01:30 01T01:30"),
        (BERLIN, "0 0/15 * * * ?", "2027-10-30T23:40", "30T23:45 31T01:00 31T01:15"),
        (BERLIN, "0 0/15 2 * * ?", "2027-10-30T23:30", "31T01:00 31T01:15 31T01:30"),
        (NEW_YORK, "0 30 1 * * ?", "2027-11-06T00", "06T05:30 07T06:30 08T06:30"),
        (NEW_YORK, "0 30 2 * * ?", "2027-03-13T00", "13T07:30 15T06:30 16T06:30"),
        (LORD_HOWE, "0 15 2 * * ?", "2026-10-02T00", "02T15:45 04T15:15 05T15:15"),
        (LORD_HOWE, "0 45 2 * * ?", "2026-10-02T00", "02T16:15 03T15:45 04T15:45"),
        (LORD_HOWE, "0 45 1 * * ?", "2027-04-02T13", "02T14:45 03T15:15 04T15:15"),
        (SAO_PAULO, "0 0 0 * * ?", "2018-11-02T12", "03T03:00 05T02:00 06T02:00"),
        (SAO_PAULO, "0 30 23 * * ?", "2019-02-15T12", "16T01:30 17T02:30 18T02:30"),
        ("UTC", "0 0 0 L-3W * ?", "2027-01-01T00", "28T00:00 25T00:00 29T00:00"),
        ("UTC", "0 0 0 1W * ?", "2027-04-01T00", "03T00:00 01T00:00 01T00:00"),
        ("UTC", "0 0 22-4/3 ? * *", "2027-01-01T00", "01T01:00 01T04:00 01T22:00"),
        ("UTC", "0 0 0 ? * 7-3/2", "2027-01-01T00", "02T00:00 04T00:00 09T00:00"),
        ("UTC", "0 0 0 ? * FRI#5", "2027-01-01T00", "29T00:00 30T00:00 30T00:00"),
    ],
)
def test_it_fires_as_quartz_did(zone: str, expression: str, after: str, expected: str) -> None:
    """Recorded from Quartz 2.3.2 on Java 17: skipped times never, repeated ones the second time."""
    start = datetime.fromisoformat(f"{after}:00" if len(after) == 13 else after)
    schedule = QuartzSchedule.parse(expression)

    fired = islice(schedule.occurrences(start.replace(tzinfo=UTC), ZoneInfo(zone)), 3)

    assert " ".join(f"{moment:%dT%H:%M}" for moment in fired) == expected


def test_sparse_expressions_are_found_and_come_to_an_end() -> None:
    """29 February comes every fourth year, but not in 2100; a year in the past comes never."""
    start, utc = datetime(2090, 1, 1, tzinfo=UTC), ZoneInfo("UTC")

    leap = QuartzSchedule.parse("0 0 0 29 FEB ?").occurrences(start, utc)
    past = QuartzSchedule.parse("0 0 0 ? * * 1970-2026").occurrences(start, utc)
    once = QuartzSchedule.parse("59 59 23 31 12 ? 2099").occurrences(start, utc)

    assert [moment.year for moment in leap][:4] == [2092, 2096, 2104, 2108]
    assert list(past) == []
    assert list(once) == [datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)]


def test_a_time_is_not_fired_again_after_itself() -> None:
    """Asking from each answer walks on, also with parts of a second."""
    schedule, utc = QuartzSchedule.parse("* * * * * ?"), ZoneInfo("UTC")
    moment = datetime(2027, 1, 31, 23, 59, 58, 500_000, tzinfo=UTC)

    for expected in ("59", "00", "01"):
        moment = next(schedule.occurrences(moment, utc))
        assert f"{moment:%S.%f}" == f"{expected}.000000"


@pytest.mark.parametrize(
    ("expression", "field", "words"),
    [
        ("0 8 * * *", "", "Write cron with its five fields as cron"),
        ("0 0 8 * *  * * *", "", "six or seven"),
        ("60 0 0 * * ?", "seconds", "0 to 59"),
        ("0 x 0 * * ?", "minutes", "'X'"),
        ("0 0 24 * * ?", "hours", "0 to 23"),
        ("0 0 0 32 * ?", "day of month", "1 to 31"),
        ("0 0 0 0W * ?", "day of month", "1 to 31"),
        ("0 0 0 1-5W * ?", "day of month", "1W,15W"),
        ("0 0 0 L-31 * ?", "day of month", "L-30"),
        ("0 0 0 1 FOO ?", "month", "JAN to DEC"),
        ("0 0 0 ? * 0", "day of week", "1 (Sunday)"),
        ("0 0 0 ? * MON#6", "day of week", "1 to 5"),
        ("0 0 0 ? * MON,FRI#1", "day of week", "two schedules"),
        ("0 0 0 ? * MON-FRI/2", "day of week", "2-6/2"),
        ("0 0 0 * * *", "day of week", "exactly one '?'"),
        ("0 0 0 ? * ?", "day of week", "exactly one '?'"),
        ("0/60 0 0 * * ?", "seconds", "1 to 59"),
        ("*/0 0 0 * * ?", "seconds", "1 to 59"),
        ("0 0 0 1 1 ? 2030-2028", "year", "2028-2030"),
        ("0 0 0 1 1 ? 99999", "year", "2199"),
        ("0 0 0 30 2 ?", "day of month", "never fires"),
        ("0,, 0 0 1 2 ?", "seconds", "''"),
        ("0 0 ? 1 2 ?", "hours", "0 to 23"),
    ],
)
def test_an_error_names_the_field_and_the_mend(expression: str, field: str, words: str) -> None:
    """Whoever reads it can mend the expression without a manual."""
    with pytest.raises(ScheduleError) as caught:
        QuartzSchedule.parse(expression)

    assert caught.value.field == field
    assert words in str(caught.value)


@given(st.text(alphabet="0123456789*/,-LW#? MONFRISAJDEC", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never another error; what is read can be asked and explained."""
    try:
        schedule = QuartzSchedule.parse(text)
    except ScheduleError:
        return
    next(schedule.occurrences(datetime(2027, 1, 1, tzinfo=UTC), ZoneInfo(BERLIN)), None)
    assert schedule.explain().endswith(".")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 8 ? * MON-FRI", "At 08:00, on Monday to Friday."),
        ("0 0/15 9-17 * * ?", "Every 15th minute of hours 9 to 17, every day."),
        ("*/10 * * * * ?", "Every 10th second, every day."),
        (
            "30 0 0 LW 1,2 ? 2030",
            "At 00:00:30, on the last weekday of the month, in January and February, in 2030.",
        ),
        ("0 0 12 ? * 6#3", "At 12:00, on the 3rd Friday of the month."),
        ("0 0 12 1-5,L-2 * ?", "At 12:00, on the 1st to 5th and the 3rd last day of the month."),
    ],
)
def test_it_is_explained_in_words(expression: str, words: str) -> None:
    """Each field that says something is said."""
    assert QuartzSchedule.parse(expression).explain() == words
