"""Quartz cron expressions, fired as Quartz fires them.

Six or seven fields: seconds, minutes, hours, day of month, month, day of week and perhaps a year;
one of the two day fields is ``?``. A time that daylight saving skips does not fire, one that it
repeats fires the second time only: that is what Quartz does on a current Java, whose calendar
reads an ambiguous time as standard time (``CronExpression.getTimeAfter``).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules import quartz_fields as fields
from ignition_ext.schedules.clock import quartz_moment, readings, wall
from ignition_ext.schedules.quartz_fields import DayRule, MonthDay, WeekDays
from ignition_ext.schedules.words import quartz_in_words

_HOUR, _MINUTE = 3600, 60
_COUNTS = (6, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuartzSchedule:
    """A Quartz expression; :meth:`parse` makes one."""

    expression: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: DayRule
    months: tuple[int, ...]
    years: tuple[int, ...]

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Read an expression.

        Raises:
            ScheduleError: it is none, or none of its months has such a day.
        """
        parts = expression.upper().split()
        if len(parts) not in _COUNTS:
            raise ScheduleError(
                f"{expression!r} has {len(parts)} fields; Quartz has six or seven: seconds,"
                " minutes, hours, day of month, month, day of week, and perhaps a year",
                mend="Write cron with its five fields as cron." if len(parts) == 5 else "",
            )
        schedule = cls(
            expression=" ".join(parts),
            seconds=fields.read_values(parts[0], fields.SECONDS),
            minutes=fields.read_values(parts[1], fields.MINUTES),
            hours=fields.read_values(parts[2], fields.HOURS),
            days=_read_days(parts[3], parts[5]),
            months=fields.read_values(parts[4], fields.MONTH),
            years=fields.read_values(parts[6], fields.YEAR)
            if len(parts) == max(_COUNTS)
            else fields.YEAR.all,
        )
        # 2000 has a 29 February, and 28 years from it have each day on each day of the week.
        if not any(schedule._days_of(y, m) for y in range(2000, 2028) for m in schedule.months):
            raise ScheduleError(
                f"{expression!r} never fires: no month that it names has that day",
                field="day of month",
                mend="Write L for the last day of a month.",
            )
        return schedule

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times in UTC later than ``after``, ascending; ends when there are no more."""
        first, second = readings(wall(after, timezone), timezone)
        # In the first pass of a repeated hour, times that the wall has shown already are to come.
        start = wall(after, timezone) - max(second - first, timedelta())
        for shown in self.walls(start):
            moment = quartz_moment(shown, timezone)
            if moment is not None and moment > after:
                yield moment.astimezone(UTC)

    def explain(self) -> str:
        """The schedule in words."""
        return quartz_in_words(
            seconds=self.seconds,
            minutes=self.minutes,
            hours=self.hours,
            days=self.days,
            months=self.months,
            years=self.years,
        )

    def walls(self, start: datetime) -> Iterator[datetime]:
        """Wall times from ``start`` on, ascending."""
        for year in self.years:
            if year < start.year:
                continue
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                for number in self._days_of(year, month):
                    day = date(year, month, number)
                    if day >= start.date():
                        yield from self._times(day, start)

    def _times(self, day: date, start: datetime) -> Iterator[datetime]:
        midnight = datetime.combine(day, time())
        least = int((start - midnight).total_seconds()) if day == start.date() else 0
        for hour in self.hours:
            if (hour + 1) * _HOUR <= least:
                continue
            for minute in self.minutes:
                at = hour * _HOUR + minute * _MINUTE
                if at + _MINUTE <= least:
                    continue
                for second in self.seconds:
                    if at + second >= least:
                        yield midnight + timedelta(seconds=at + second)

    def _days_of(self, year: int, month: int) -> list[int]:
        if isinstance(self.days, WeekDays):
            return _by_week(self.days, year, month)
        found = {_by_month(day, year, month) for day in self.days}
        return sorted(day for day in found if day)


def _read_days(of_month: str, of_week: str) -> DayRule:
    if (of_month == "?") == (of_week == "?"):
        raise ScheduleError(
            f"day of month {of_month!r} and day of week {of_week!r}: Quartz wants exactly one '?'",
            field="day of week",
            mend="Write ? for the one of the two that does not matter.",
        )
    if of_week == "?":
        return fields.read_month_days(of_month)
    return fields.read_week_days(of_week)


def _by_month(rule: MonthDay, year: int, month: int) -> int:
    """The day in that month, 0 if it has none."""
    weekday, last = monthrange(year, month)
    day = last - rule.day if rule.from_end else rule.day
    if not 1 <= day <= last:
        return 0
    if not rule.weekday:
        return day
    match (weekday + day - 1) % 7:
        case 5:
            return day - 1 if day > 1 else day + 2
        case 6:
            return day + 1 if day < last else day - 2
        case _:
            return day


def _by_week(rule: WeekDays, year: int, month: int) -> list[int]:
    weekday, last = monthrange(year, month)
    # monthrange counts from Monday = 0, Quartz from Sunday = 1.
    days = [n for n in range(1, last + 1) if (weekday + n) % 7 + 1 in rule.days]
    if rule.nth == 0:
        return days
    if rule.nth == -1:
        return days[-1:]
    return days[rule.nth - 1 : rule.nth]
