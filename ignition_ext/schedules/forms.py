"""The forms in which Prefect takes a schedule: cron, interval, or an RFC 5545 rule.

What Prefect's cron or interval says exactly becomes that. Everything else becomes a rule: a FREQ
rule where it fires often (``dense.py``), explicit dates in UTC where it fires seldom. The latter
end, and a FREQ rule becomes slow to read as its beginning recedes: both say when they have to be
renewed. A form is the same whenever it is made for the same beginning, so that two can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from ignition_ext.schedules.clock import prefect_moment
from ignition_ext.schedules.cron import CronSchedule
from ignition_ext.schedules.dense import ANCHOR, dense_rules, plain_rule
from ignition_ext.schedules.interval import IntervalSchedule
from ignition_ext.schedules.quartz import QuartzSchedule
from ignition_ext.schedules.quartz_cron import as_cron, is_safe
from ignition_ext.schedules.recurring import Hourly, Monthly, Once, Weekly
from ignition_ext.schedules.rrule import RuleSchedule
from ignition_ext.schedules.schedule import Schedule

MOST_DATES = 250
"""Prefect reads them all whenever it looks: a fifth of a millisecond each; 400 would fit."""
LEAST_DATES = 4
"""For what fires once in four years: Prefect's UI has three runs to show."""
REACH = timedelta(days=400)
"""How far explicit dates go: four times as far as Prefect looks."""
NEEDED = timedelta(days=120)
"""Within this, longer than the 100 days that Prefect looks ahead, so few dates are sparse."""
SPARSE = 40
"""More are a rule where a rule can say it: Prefect's server reads each date several times."""
OFTENEST_RENEWAL = timedelta(minutes=1)
_DAY = timedelta(days=1)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One schedule as Prefect takes it: exactly one of ``cron``, ``interval`` and ``rule``.

    Attributes:
        cron: five fields, or an alias.
        interval: counted from ``anchor``.
        rule: lines of RFC 5545, with a DTSTART.
        timezone: the zone of the wall that they are meant on.
        renew_at: when it has to be made anew; None where it is good for ever.
        part: empty, or what stands beside the main form: ``clocks`` for what fires in hours that
            come twice.
    """

    cron: str = ""
    interval: timedelta | None = None
    anchor: datetime | None = None
    rule: str = ""
    timezone: str
    renew_at: datetime | None = None
    part: str = ""


def forms(schedule: Schedule, where: ZoneInfo, begin: datetime) -> tuple[Form, ...]:
    """The schedule in Prefect's terms: one form, or none where it fires no more, seldom two.

    Args:
        schedule: what is to be said.
        where: the zone of its wall.
        begin: from when on it has to be right; those that have to be renewed count from it.
    """
    match schedule:
        case CronSchedule():
            return _cron(schedule, where, begin)
        case RuleSchedule(text=text, utc=utc):
            anchored = text if "DTSTART" in text.upper() else f"{ANCHOR}\n{text}"
            return (Form(rule=anchored, timezone="UTC" if utc else where.key),)
        case IntervalSchedule():
            return (_interval(schedule, where),)
        case Hourly(minute=minute):
            return _cron(CronSchedule.parse(f"{minute} * * * *"), where, begin)
        case Weekly(at=at, days=days):
            return _daily(at, "*", ",".join(str(day - 1) for day in sorted(set(days))), where)
        case Monthly(at=at, days=days):
            return _monthly(at, days, where, begin)
        case Once(at=at):
            moment = next(schedule.occurrences(datetime.min.replace(tzinfo=UTC), where))
            return (Form(rule=f"{ANCHOR}\n{_dates([moment])}", timezone="UTC"),)
        case QuartzSchedule():
            return _quartz(schedule, where, begin)
        case _:
            return _explicit(schedule, where, begin)


def _cron(schedule: CronSchedule, where: ZoneInfo, begin: datetime) -> tuple[Form, ...]:
    if not schedule.prefect_skips_march:
        return (Form(cron=schedule.expression, timezone=where.key),)
    if (rule := schedule.as_rule()) is not None:
        return (Form(rule=f"{ANCHOR}\n{rule}", timezone=where.key),)
    return _explicit(schedule, where, begin)


def _interval(schedule: IntervalSchedule, where: ZoneInfo) -> Form:
    """Whole days as a rule: to Prefect 24h are elapsed, midnight in winter and one in summer.

    Everything else is elapsed time. Prefect counts that in UTC alone: in a zone it leaves out the
    second of two hours, and keeps the wall's time beyond a day.
    """
    days, rest = divmod(schedule.every, _DAY)
    if not rest:
        start = f"DTSTART:{schedule.anchor:%Y%m%dT%H%M%S}"
        return Form(rule=f"{start}\nRRULE:FREQ=DAILY;INTERVAL={days}", timezone=where.key)
    anchor = prefect_moment(schedule.anchor, where)
    return Form(interval=schedule.every, anchor=anchor, timezone="UTC")


def _daily(at: time, month_days: str, week_days: str, where: ZoneInfo) -> tuple[Form, ...]:
    week_days = "*" if week_days == "0,1,2,3,4,5,6" else week_days
    if not at.second:
        expression = f"{at.minute} {at.hour} {month_days} * {week_days}"
        return (Form(cron=expression, timezone=where.key),)
    names = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
    by_day = (
        ""
        if week_days == "*"
        else f";BYDAY={','.join(names[int(day)] for day in week_days.split(','))}"
    )
    return (Form(rule=plain_rule(by_day, at), timezone=where.key),)


def _monthly(at: time, days: Sequence[int], where: ZoneInfo, begin: datetime) -> tuple[Form, ...]:
    numbers = ",".join(str(day) for day in sorted(set(days)))
    if min(days) > 0 and not at.second:
        return _cron(CronSchedule.parse(f"{at.minute} {at.hour} {numbers} * *"), where, begin)
    return (Form(rule=plain_rule(f";BYMONTHDAY={numbers}", at), timezone=where.key),)


def _quartz(schedule: QuartzSchedule, where: ZoneInfo, begin: datetime) -> tuple[Form, ...]:
    if is_safe(schedule, where, begin) and (cron := as_cron(schedule)) is not None:
        return _cron(cron, where, begin)
    explicit = _explicit(schedule, where, begin)
    if not explicit or _is_sparse(schedule, where, begin):
        return explicit
    dense = dense_rules(schedule, where, begin)
    if dense is None:
        return explicit
    rules = (("", dense.rule, where.key), ("clocks", dense.second_passes, "UTC"))
    return tuple(
        Form(rule=rule, timezone=zone, renew_at=dense.renew_at, part=part)
        for part, rule, zone in rules
        if rule
    )


def _is_sparse(schedule: Schedule, where: ZoneInfo, begin: datetime) -> bool:
    """Whether its dates are so few that they can be written out."""
    within = takewhile(lambda at: at < begin + NEEDED, schedule.occurrences(begin, where))
    return sum(1 for _ in islice(within, SPARSE)) < SPARSE


def _explicit(schedule: Schedule, where: ZoneInfo, begin: datetime) -> tuple[Form, ...]:
    begin = begin.astimezone(UTC).replace(second=0, microsecond=0)
    dates: list[datetime] = []
    goes_on = False
    for moment in schedule.occurrences(begin, where):
        goes_on = len(dates) >= LEAST_DATES and moment > begin + REACH
        goes_on = goes_on or len(dates) >= MOST_DATES
        if goes_on:
            break
        dates.append(moment)
    if not dates:
        return ()
    return (
        Form(
            rule=f"DTSTART:{begin:%Y%m%dT%H%M%S}\n{_dates(dates)}",
            timezone="UTC",
            renew_at=max(begin + (dates[-1] - begin) / 2, begin + OFTENEST_RENEWAL)
            if goes_on
            else None,
        ),
    )


def _dates(moments: Sequence[datetime]) -> str:
    return f"RDATE:{','.join(f'{moment.astimezone(_UTC):%Y%m%dT%H%M%S}' for moment in moments)}"
