"""What fires often, as FREQ rules.

Prefect reads a rule from its beginning on whenever it looks, so the beginning is near and the rule
is renewed from time to time. Quartz leaves out a time that the clock skips and fires the second of
two; Prefect fires both otherwise. So the rule leaves those hours out, and what fires in the second
pass of an hour stands in a rule of its own, in UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ignition_ext.schedules import quartz_fields as fields
from ignition_ext.schedules.changes import Change, changes
from ignition_ext.schedules.clock import wall
from ignition_ext.schedules.quartz import QuartzSchedule
from ignition_ext.schedules.quartz_cron import touches
from ignition_ext.schedules.quartz_fields import DayRule, MonthDay, WeekDays

ANCHOR = "DTSTART:20200101T000000"
"""What Prefect puts before a rule without a start; written out so that it reads back the same."""
MOST_WALKED = 20_000
"""Times that Prefect goes through before it is at today's: some hundredths of a second."""
LONGEST = timedelta(days=30)
"""A rule is renewed at least so often, long before it has met all changes that it knows."""
REACH = timedelta(days=360)
"""Changes that a rule knows: less than a year, for they are named by day and month."""
_HOUR = timedelta(hours=1)
_DAY_NAMES = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
_WORKDAYS = "MO,TU,WE,TH,FR"
_LAST_NEAREST, _LAST_BACK = 27, 26
"""``28W`` may lie behind the end of a February, ``L-27W`` before its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseRules:
    """The rule on the wall, the one in UTC for hours that come twice (or empty), and its end."""

    rule: str
    second_passes: str
    renew_at: datetime


def plain_rule(days: str, at: time) -> str:
    """One time on some days, for ever."""
    when = f";BYHOUR={at.hour};BYMINUTE={at.minute};BYSECOND={at.second}"
    return f"{ANCHOR}\nRRULE:FREQ=DAILY{days}{when}"


def dense_rules(schedule: QuartzSchedule, where: ZoneInfo, begin: datetime) -> DenseRules | None:
    """The rules from the hour before ``begin`` on; None where no rule can say it."""
    days = list(_days(schedule.days))
    if not all(days) or schedule.years != fields.YEAR.all:
        return None
    start = wall(begin, where).replace(minute=0, second=0, microsecond=0)
    when = "".join(
        (
            _by("MONTH", schedule.months, fields.MONTH.all),
            _by("HOUR", schedule.hours, fields.HOURS.all),
            _by("MINUTE", schedule.minutes),
            _by("SECOND", schedule.seconds),
        )
    )
    anchor = f"DTSTART:{start:%Y%m%dT%H%M%S}"
    # The first day must not be looked at through a change that is just over.
    near = list(changes(where, begin - 26 * _HOUR, begin + REACH))
    lines = [anchor, *(f"RRULE:FREQ=HOURLY{part}{when}" for part in days)]
    lines += [line for change in near for line in _left_out(schedule, change)]
    per_day = len(schedule.hours) * len(schedule.minutes) * len(schedule.seconds)
    age = min(LONGEST, timedelta(days=MOST_WALKED / per_day))
    return DenseRules(
        rule="\n".join(lines),
        second_passes=_second_passes(schedule, where, near),
        renew_at=begin + max(age, _HOUR),
    )


def _by(name: str, values: Sequence[int], every: Sequence[int] = ()) -> str:
    return "" if tuple(values) == tuple(every) else f";BY{name}={','.join(map(str, values))}"


def _days(rule: DayRule) -> Iterator[str]:
    """The parts of rules that together name the days; one that is empty cannot be said.

    Every day is said as such, because an empty part means the former.
    """
    if isinstance(rule, WeekDays):
        names = ",".join(_DAY_NAMES[day - 1] for day in rule.days)
        if not rule.nth:
            yield f";BYDAY={names}"
        elif rule.nth == -1:
            yield f";BYMONTHDAY=-7,-6,-5,-4,-3,-2,-1;BYDAY={names}"
        else:
            first = 7 * rule.nth - 6
            numbers = range(first, min(first + 7, 32))
            yield f";BYMONTHDAY={','.join(map(str, numbers))};BYDAY={names}"
        return
    plain = [-1 - day.day if day.from_end else day.day for day in rule if not day.weekday]
    if plain:
        yield f";BYMONTHDAY={','.join(map(str, plain))}"
    for day in rule:
        if day.weekday:
            yield from _nearest(day)


def _nearest(day: MonthDay) -> Iterator[str]:
    """The weekday nearest to a day, by the three days that it can be."""
    if day.from_end:
        if day.day > _LAST_BACK:
            yield ""
            return
        number = -1 - day.day
        back, forth = (-2, -3) if day.day == 0 else (number - 1, number + 1)
        yield f";BYMONTHDAY={number};BYDAY={_WORKDAYS}"
        yield f";BYMONTHDAY={back};BYDAY=FR"
        yield f";BYMONTHDAY={forth};BYDAY={'FR' if day.day == 0 else 'MO'}"
        return
    if day.day > _LAST_NEAREST:
        yield ""
        return
    yield f";BYMONTHDAY={day.day};BYDAY={_WORKDAYS}"
    if day.day == 1:
        yield ";BYMONTHDAY=2,3;BYDAY=MO"
    else:
        yield f";BYMONTHDAY={day.day - 1};BYDAY=FR"
        yield f";BYMONTHDAY={day.day + 1};BYDAY=MO"


def _left_out(schedule: QuartzSchedule, change: Change) -> Iterator[str]:
    start, end = change.walls
    if not touches(schedule, start, end):
        return
    hour = start.replace(minute=0, second=0)
    while hour < end:
        low, high = max(start, hour), min(end, hour + _HOUR) - timedelta(seconds=1)
        minutes = [minute for minute in schedule.minutes if low.minute <= minute <= high.minute]
        if minutes:
            yield _one_hour("EXRULE", hour, minutes, schedule.seconds)
        hour += _HOUR


def _second_passes(schedule: QuartzSchedule, where: ZoneInfo, near: Iterable[Change]) -> str:
    lines = []
    for change in near:
        if change.skips or not touches(schedule, *change.walls):
            continue
        hours: dict[datetime, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for moment in schedule.occurrences(change.at - timedelta(microseconds=1), where):
            if moment >= change.at + (change.before - change.after):
                break
            minutes, seconds = hours[moment.replace(minute=0, second=0)]
            minutes.add(moment.minute)
            seconds.add(moment.second)
        lines += [
            _one_hour("RRULE", hour, sorted(minutes), sorted(seconds))
            for hour, (minutes, seconds) in hours.items()
        ]
    if not lines:
        return ""
    first = min(change.at for change in near).astimezone(UTC)
    return "\n".join((f"DTSTART:{first:%Y%m%d}T000000", *lines))


def _one_hour(kind: str, hour: datetime, minutes: Sequence[int], seconds: Sequence[int]) -> str:
    """Times of one hour of one day."""
    return (
        f"{kind}:FREQ=YEARLY;UNTIL={hour:%Y%m%d}T235959;BYMONTH={hour.month}"
        f";BYMONTHDAY={hour.day};BYHOUR={hour.hour}{_by('MINUTE', minutes)}{_by('SECOND', seconds)}"
    )
