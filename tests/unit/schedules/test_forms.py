"""What Prefect fires of the form that it is handed, beside the schedule's own times."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule as PrefectCron
from prefect.server.schemas.schedules import IntervalSchedule as PrefectInterval
from prefect.server.schemas.schedules import RRuleSchedule as PrefectRule

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.business import BusinessDay, Calendar, Roll, RolledMonthly
from ignition_ext.schedules.changes import changes
from ignition_ext.schedules.cron import CronSchedule
from ignition_ext.schedules.forms import Form, forms
from ignition_ext.schedules.interval import IntervalSchedule
from ignition_ext.schedules.quartz import QuartzSchedule
from ignition_ext.schedules.recurring import Hourly, Monthly, Once, Weekly
from ignition_ext.schedules.rrule import LENGTH, RuleSchedule
from ignition_ext.schedules.schedule import Schedule

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    BERLIN,
    ZoneInfo("America/New_York"),
    ZoneInfo("Australia/Lord_Howe"),
    ZoneInfo("Australia/Adelaide"),
    ZoneInfo("America/Sao_Paulo"),
    ZoneInfo("UTC"),
]
BEGIN = datetime(2026, 11, 21, 17, 20, 31, tzinfo=UTC)
SHOWN = 130
"""More than two minutes of what fires each second, more than Prefect asks for at once."""


def prefects(form: Form) -> PrefectCron | PrefectInterval | PrefectRule:
    if form.cron:
        return PrefectCron(cron=form.cron, timezone=form.timezone)
    if form.interval is not None:
        assert form.anchor is not None
        return PrefectInterval(
            interval=form.interval, anchor_date=form.anchor, timezone=form.timezone
        )
    return PrefectRule(rrule=form.rule, timezone=form.timezone)


async def fired(made: tuple[Form, ...], start: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    for form in made:
        times = await prefects(form).get_dates(n=SHOWN + 2, start=start, end=end)
        found += [datetime.fromisoformat(str(one)).astimezone(UTC) for one in times]
    # Asked just before a gap, Prefect names again what it moved to before it. It has a run already.
    return sorted(moment for moment in found if moment >= start)[:SHOWN]


def meant(schedule: Schedule, where: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    times = schedule.occurrences(start - timedelta(microseconds=1), where)
    return list(islice(takewhile(lambda at: at <= end, times), SHOWN))


async def check(schedule: Schedule, where: ZoneInfo, begin: datetime = BEGIN) -> None:
    """Prefect fires it as it is meant: at once, and around each change of the clock."""
    await compare(schedule, where, forms(schedule, where, begin), begin)
    for change in changes(where, begin, begin + timedelta(days=380)):
        # By then a dense rule has been renewed.
        made = forms(schedule, where, change.at - timedelta(hours=5))
        for minutes in (-62, -2, 28):
            await compare(schedule, where, made, change.at + timedelta(minutes=minutes))


async def compare(
    schedule: Schedule, where: ZoneInfo, made: tuple[Form, ...], start: datetime
) -> None:
    assert all(len(form.rule) <= LENGTH for form in made)
    start += timedelta(seconds=1)
    end = start + timedelta(days=100)
    if made and made[0].renew_at is not None and "FREQ" not in made[0].rule:
        end = min(end, made[0].renew_at)
    if start <= end:
        assert await fired(made, start, end) == meant(schedule, where, start, end), made


QUARTZ = [
    "0 0 8 ? * MON-FRI",
    "0 0 8 * * ?",
    "0 30 2 * * ?",
    "0 15 1,2,3 * * ?",
    "0 0 2 ? * SUN",
    "30 0/15 * * * ?",
    "0 0/5 * * * ?",
    "0/10 * * * * ?",
    "0 0/30 0-6 ? * SUN",
    "0 0/10 * ? * 1#1",
    "0/20 0/2 1-3 LW * ?",
    "0 0/10 * 1W,15W * ?",
    "0 * * L-3 * ?",
    "0 0/7 * 31W * ?",
    "0 0 9 ? * 6#3",
    "0 0 9 ? * FRIL",
    "0 0 9 L-2 * ?",
    "0 0 9 29 2 ?",
    "0 0/20 * * 3,4,10 ?",
    "0 0 8 1,31 * ?",
    "15 0 8 1 1 ? 2027-2029",
    "0 0/15 * * * ? 2026-2027",
]


@pytest.mark.parametrize("where", ZONES, ids=str)
@pytest.mark.parametrize("expression", QUARTZ)
async def test_prefect_fires_quartz_as_quartz_does(expression: str, where: ZoneInfo) -> None:
    """Also in hours that the clock skips or repeats, and every second."""
    await check(QuartzSchedule.parse(expression), where)


OTHERS: list[Schedule] = [
    CronSchedule.parse("0 8 * * MON-FRI"),
    CronSchedule.parse("@daily"),
    CronSchedule.parse("30 2 1,31 * *"),
    CronSchedule.parse("*/20 * 1,31 * *"),
    RuleSchedule.parse("FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"),
    RuleSchedule.parse("DTSTART:20260101T023000Z\nRRULE:FREQ=DAILY"),
    RuleSchedule.parse("DTSTART:20260101T023000\nRRULE:FREQ=WEEKLY"),
    RuleSchedule.parse("RDATE:20261224T090000,20270101T100000"),
    IntervalSchedule(every=timedelta(hours=6)),
    IntervalSchedule(every=timedelta(hours=36)),
    IntervalSchedule(every=timedelta(days=7)),
    IntervalSchedule(every=timedelta(seconds=45)),
    Hourly(minute=15),
    Weekly(at=time(2, 30)),
    Weekly(at=time(9), days=(2, 4)),
    Weekly(at=time(9, 0, 30), days=(1, 7)),
    Monthly(at=time(2, 30), days=(15,)),
    Monthly(at=time(9), days=(1, 31)),
    Monthly(at=time(9), days=(15, -1)),
    Monthly(at=time(9, 0, 5), days=(1, 15)),
    Once(at=datetime(2026, 12, 1, 9)),
    Once(at=datetime(2026, 12, 1, 9, tzinfo=UTC)),
    BusinessDay(number=3, at=time(9), calendar=Calendar.load("DE-BY")),
    BusinessDay(number=-1, at=time(2, 30), calendar=Calendar.load("DE"), roll=Roll.BACK),
    RolledMonthly(
        monthly=Monthly(at=time(9), days=(15, -1)),
        calendar=Calendar.load("US", dates=[date(2026, 12, 15)]),
        roll=Roll.FORWARD,
    ),
]


@pytest.mark.parametrize("where", ZONES, ids=str)
@pytest.mark.parametrize("schedule", OTHERS, ids=lambda schedule: schedule.explain()[:60])
async def test_prefect_fires_the_others_as_they_are_meant(
    schedule: Schedule, where: ZoneInfo
) -> None:
    """Each in the form that is its own."""
    await check(schedule, where)


@pytest.mark.parametrize("where", [BERLIN, ZoneInfo("Australia/Lord_Howe")], ids=str)
async def test_prefect_fires_every_second(where: ZoneInfo) -> None:
    """But for the hour that comes twice, of which Quartz fires the second."""
    await check(QuartzSchedule.parse("* * * * * ?"), where)


_values = {
    "second": st.sampled_from(["0", "30", "*/20", "0/7", "*", "5,50"]),
    "minute": st.sampled_from(["0", "30", "*/15", "0/7", "*", "5,50", "20-40"]),
    "hour": st.sampled_from(["8", "2", "*", "0-3", "1,2,3", "*/6", "22-2"]),
    "days": st.sampled_from(
        ["* * ?", "? * SUN", "? * MON-FRI", "? * 1#1", "? * 1L", "L * ?", "LW * ?", "? 2-11 7#5"]
    )
    | st.sampled_from(
        ["15W * ?", "1W * ?", "L-3W * ?", "L-30 * ?", "29W * ?", "1,31 3,4,10,11 ?", "30 * ?"]
    ),
}


@examples(max_examples=60)
@given(st.fixed_dictionaries(_values), st.sampled_from(ZONES), st.integers(0, 400 * 1440))
async def test_prefect_fires_any_quartz_as_it_is_meant(
    fields: dict[str, str], where: ZoneInfo, minutes: int
) -> None:
    """Whatever the expression, the zone and the moment at which it was handed over."""
    try:
        schedule = QuartzSchedule.parse(" ".join(fields.values()))
    except ScheduleError:
        assume(False)
    await check(schedule, where, BEGIN + timedelta(minutes=minutes))


@pytest.mark.parametrize("where", ZONES, ids=str)
@pytest.mark.parametrize("expression", QUARTZ)
def test_a_form_is_the_same_for_the_beginning_that_it_names(
    expression: str, where: ZoneInfo
) -> None:
    """So one on the server can be compared with what it ought to be."""
    schedule = QuartzSchedule.parse(expression)
    made = forms(schedule, where, BEGIN)
    if not made or not made[0].rule:
        return
    zone = ZoneInfo(made[0].timezone)
    shown = made[0].rule.partition("\n")[0].removeprefix("DTSTART:")
    named = datetime.strptime(shown, "%Y%m%dT%H%M%S").replace(tzinfo=zone)

    again = forms(schedule, where, named)

    assert [(form.rule, form.part) for form in again] == [(form.rule, form.part) for form in made]


@pytest.mark.parametrize("expression", ["0/10 * * * * ?", "* * * * * ?", "0 30 2 * * ?"])
def test_what_ends_is_renewed_long_before(expression: str) -> None:
    """At half of its time, or before Prefect has to walk far."""
    schedule = QuartzSchedule.parse(expression)
    (first, *_) = forms(schedule, BERLIN, BEGIN)

    assert first.renew_at is not None
    assert BEGIN < first.renew_at <= BEGIN + timedelta(days=200)


WEEKEND: list[Schedule] = [
    CronSchedule.parse("30 2 * * *"),
    QuartzSchedule.parse("0/30 15 * * * ?"),
    QuartzSchedule.parse("0 45 1,2 ? * SAT-SUN"),
    BusinessDay(number=-3, at=time(9), calendar=Calendar.load("DE-BY")),
    IntervalSchedule(every=timedelta(hours=7)),
    Once(at=datetime(2027, 3, 28, 2, 30)),
]


@pytest.mark.parametrize("schedule", WEEKEND, ids=lambda schedule: schedule.explain()[:60])
@pytest.mark.parametrize(
    "friday", [date(2027, 3, 26), date(2026, 10, 30), date(2027, 10, 29)], ids=str
)
async def test_a_weekend_fires_at_its_times(schedule: Schedule, friday: date) -> None:
    """As Prefect's scheduler looks again and again while the clock goes on: three, and an hour."""
    begin = datetime.combine(friday, time(18), tzinfo=UTC)
    end = begin + timedelta(hours=60)
    made = forms(schedule, BERLIN, begin)
    runs: set[datetime] = set()
    clock = begin
    while clock < end:
        for form in made:
            hour = clock + timedelta(hours=1)
            times = await prefects(form).get_dates(n=3, start=clock)
            times += await prefects(form).get_dates(n=100, start=clock, end=hour)
            runs |= {datetime.fromisoformat(str(one)).astimezone(UTC) for one in times}
        clock += timedelta(minutes=45)

    assert sorted(one for one in runs if begin <= one <= end) == meant(schedule, BERLIN, begin, end)
