"""Cron with five fields, fired as Prefect's ``CronSchedule`` fires it.

Prefect hands croniter the time on the wall and puts the zone back afterwards: a time that daylight
saving skips is moved by the gap, one that it repeats fires once, the first time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.clock import LAST_YEAR, in_order, start_of_walls
from ignition_ext.schedules.words import MONTH_NAMES, listed, ordinal, times_in_words
from ignition_ext.schedules.words import week_days_in_words as week_days

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
ALIASES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_ITEM = re.compile(r"(\*|L|L[0-7]|(\d+|[A-Z]{3})(-(\d+|[A-Z]{3}))?|(\d|[A-Z]{3})#[1-5])(/\d+)?")
"""What Prefect's own cron takes: it has no W, no ``?`` and no hashed ``H`` or ``R``."""
_ANY = ("*",)
_RULE_DAYS = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
MOST_TIMES = 24
"""Times of a day in a rule: Prefect goes through all of them since the rule's beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSchedule:
    """A cron expression; :meth:`parse` makes one."""

    expression: str

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Read an expression of five fields, or an alias such as ``@daily``.

        Raises:
            ScheduleError: it is none, never fires, or has Quartz's six or seven fields.
        """
        parts = expression.split()
        if len(parts) == 1 and parts[0].lower() in ALIASES:
            return cls(expression=parts[0].lower())
        if len(parts) in (6, 7):
            raise ScheduleError(
                f"{expression!r} has {len(parts)} fields, cron has five: {', '.join(FIELDS)}",
                mend="With seconds first it is a Quartz expression: write `quartz:` for `cron:`.",
            )
        if len(parts) != len(FIELDS):
            raise ScheduleError(
                f"{expression!r} has {len(parts)} fields, cron has five: {', '.join(FIELDS)}",
                mend="Write * for each field that does not matter.",
            )
        for name, part in zip(FIELDS, parts, strict=True):
            _check(part, name)
        joined = " ".join(parts)
        try:
            croniter(joined, datetime(2000, 1, 1)).get_next()
        except CroniterBadDateError as error:
            raise ScheduleError(
                f"{expression!r} never fires: no month that it names has that day",
                field="day of month",
            ) from error
        except (CroniterError, ValueError) as error:
            raise ScheduleError(f"{expression!r} is not a cron expression: {error}") from error
        return cls(expression=joined)

    @property
    def prefect_skips_march(self) -> bool:
        """Whether Prefect leaves out the first days of a March, as for ``0 8 1,31 * *``.

        The croniter inside Prefect 3.8.8 looks in February for the 31st, adds the difference and
        lands on 3 March; the croniter that is its own package has mended this.
        """
        days = croniter(self.expression, datetime(2000, 1, 1)).expanded[2]
        numbers = sorted(day for day in days if isinstance(day, int))
        for february in (28, 29):
            beyond = [day for day in numbers if day > february]
            if february not in numbers and beyond and numbers[0] < beyond[0] - february:
                return True
        return False

    def as_rule(self) -> str | None:
        """The same times as RFC 5545 rules, a line each.

        None where a ``#`` or ``L`` of a week day limits the days of the month, and where the
        times of a day are so many that reading the rule would take Prefect long.
        """
        cron = croniter(self.expression, datetime(2000, 1, 1))
        minutes, hours, month_days, months, days = (tuple(part) for part in cron.expanded)
        times = _all(minutes, 0, 59), _all(hours, 0, 23)
        if cron.nth_weekday_of_month or len(times[0]) * len(times[1]) > MOST_TIMES:
            return None
        end = f";BYHOUR={_written(times[1])};BYMINUTE={_written(times[0])};BYSECOND=0"
        if months != _ANY:
            end = f";BYMONTH={_written(months)}{end}"
        chosen = []
        if month_days != _ANY:
            numbers = [-1 if day == "l" else day for day in month_days]
            chosen.append(f";BYMONTHDAY={_written(numbers)}")
        if days != _ANY:
            chosen.append(f";BYDAY={','.join(_RULE_DAYS[int(day) % 7] for day in days)}")
        return "\n".join(f"RRULE:FREQ=DAILY{days}{end}" for days in chosen or [""])

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending."""
        return in_order(self._walls(start_of_walls(after, timezone)), timezone, after=after)

    def explain(self) -> str:
        """The schedule in words."""
        cron = croniter(self.expression, datetime(2000, 1, 1))
        minutes, hours, month_days, months, days = (tuple(part) for part in cron.expanded)
        parts = [times_in_words((0,), _all(minutes, 0, 59), _all(hours, 0, 23))]
        nth = {day: tuple(which) for day, which in cron.nth_weekday_of_month.items()}
        on = [_month_days(month_days)] if month_days != _ANY else []
        on += [_week_days(days, nth)] if days != _ANY or nth else []
        # croniter joins the two day fields by or, but a # or L in the second by and.
        joint = " when it is " if nth else " or on "
        parts.append(f"on {joint.join(on)}" if on else "every day")
        if months != _ANY:
            parts.append(f"in {listed([MONTH_NAMES[month - 1] for month in months])}")
        text = ", ".join(parts)
        return f"{text[0].upper()}{text[1:]}."

    def _walls(self, start: datetime) -> Iterator[datetime]:
        cron = croniter(self.expression, start)
        while True:
            try:
                shown: datetime = cron.get_next(datetime)
            except CroniterBadDateError:
                return
            if shown.year > LAST_YEAR:
                return
            yield shown


def _check(part: str, name: str) -> None:
    for item in part.upper().split(","):
        if item == "?" or "W" in item.replace("WED", ""):
            raise ScheduleError(
                f"{part!r} is Quartz's; Prefect's cron knows neither ? nor W",
                field=name,
                mend="Write * for ?, or the whole as quartz with the seconds first.",
            )
        if not _ITEM.fullmatch(item):
            raise ScheduleError(f"{part!r} is not something that cron knows", field=name)


def _written(numbers: Iterable[int | str]) -> str:
    return ",".join(map(str, numbers))


def _all(values: tuple[int | str, ...], least: int, most: int) -> tuple[int, ...]:
    if values == _ANY:
        return tuple(range(least, most + 1))
    return tuple(int(value) for value in values)


def _month_days(values: tuple[int | str, ...]) -> str:
    names = [ordinal(day) for day in values if isinstance(day, int)]
    if "l" in values:
        names.append("last day")
    return f"the {listed(names)} of the month"


def _week_days(values: tuple[int | str, ...], nth: Mapping[int, tuple[int | str, ...]]) -> str:
    if not nth:
        return week_days([int(day) % 7 + 1 for day in values])
    names = [
        f"the {'last' if which == 'l' else ordinal(int(which))} {week_days([day % 7 + 1])}"
        for day, numbers in nth.items()
        for which in numbers
    ]
    return f"{listed(names)} of the month"
