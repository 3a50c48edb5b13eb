"""Every hour, day, week or month at a time; and once.

Skipped and repeated times fire as Prefect fires cron's: moved by the gap, once.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.clock import (
    FIRST_YEAR,
    LAST_YEAR,
    in_order,
    prefect_moment,
    start_of_walls,
)
from ignition_ext.schedules.words import listed, ordinal, week_days_in_words

_DAY = timedelta(days=1)
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def read_time(text: str) -> time:
    """A time of day: ``9:00``, ``09:00`` or ``09:00:30``.

    Raises:
        ScheduleError: it is none.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ScheduleError(
            f"{text!r} is not a time of day", field="at", mend="Write 00:00 to 23:59."
        )
    hour, minute, second = (int(part or 0) for part in match.groups())
    return time(hour, minute, second)


def told(at: time) -> str:
    """``09:00``, with seconds only where there are some."""
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hourly:
    """Each hour, at a minute of it."""

    minute: int = 0

    def __post_init__(self) -> None:
        """Refuse what no hour has."""
        if not 0 <= self.minute <= 59:
            raise ScheduleError(f"{self.minute} is not a minute, 0 to 59", field="at")

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending."""
        return in_order(self._walls(start_of_walls(after, timezone)), timezone, after=after)

    def explain(self) -> str:
        """The schedule in words."""
        return f"Every hour at minute {self.minute}."

    def _walls(self, start: datetime) -> Iterator[datetime]:
        shown = start.replace(minute=self.minute, second=0, microsecond=0)
        while shown.year <= LAST_YEAR:
            yield shown
            shown += timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekly:
    """Some days of each week, or every day; ``days`` are 1 for Sunday to 7 for Saturday."""

    at: time
    days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)

    def __post_init__(self) -> None:
        """Refuse a week without days."""
        if not self.days or not set(self.days) <= set(range(1, 8)):
            raise ScheduleError("it names no day of the week", field="on", mend="Write MON to SUN.")

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending."""
        return in_order(self._walls(start_of_walls(after, timezone)), timezone, after=after)

    def explain(self) -> str:
        """The schedule in words."""
        on = "every day" if len(set(self.days)) == 7 else f"on {week_days_in_words(self.days)}"
        return f"At {told(self.at)}, {on}."

    def _walls(self, start: datetime) -> Iterator[datetime]:
        day = start.date()
        while day.year <= LAST_YEAR:
            if day.isoweekday() % 7 + 1 in self.days:
                yield datetime.combine(day, self.at)
            day += _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Monthly:
    """Days of each month; negative ones count from its end, -1 is the last.

    A month that has no such day is left out.
    """

    at: time
    days: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse days that no month has."""
        if not self.days or any(day == 0 or abs(day) > 31 for day in self.days):
            raise ScheduleError(
                f"{listed([str(day) for day in self.days]) or 'nothing'} is no day of a month",
                field="on",
                mend="Write 1 to 31, or last.",
            )

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending."""
        return in_order(self.walls(start_of_walls(after, timezone)), timezone, after=after)

    def explain(self) -> str:
        """The schedule in words."""
        names = [ordinal(day) if day > 0 else counted_back(day) + " day" for day in self.days]
        return f"At {told(self.at)}, on the {listed(names)} of the month."

    def walls(self, start: datetime) -> Iterator[datetime]:
        """What the wall shows at those times, from the month of ``start`` on."""
        for year, month in months_from(start.date()):
            length = monthrange(year, month)[1]
            found = {day if day > 0 else length + 1 + day for day in self.days}
            for day in sorted(found & set(range(1, length + 1))):
                yield datetime.combine(date(year, month, day), self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One time: a moment, or without a zone what the schedule's wall shows.

    "Once after a delay" is this too, with the moment it comes to when it is written down.
    """

    at: datetime

    def __post_init__(self) -> None:
        """Refuse what is outside of the schedules' time."""
        if not FIRST_YEAR <= self.at.year <= LAST_YEAR:
            raise ScheduleError(
                f"the year {self.at.year} is not from {FIRST_YEAR} to {LAST_YEAR}", field="once"
            )

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The time, if it is later than ``after``."""
        moment = self.at if self.at.tzinfo else prefect_moment(self.at, timezone)
        if moment > after:
            yield moment.astimezone(UTC)

    def explain(self) -> str:
        """The schedule in words."""
        zone = f" {self.at:%z}" if self.at.tzinfo else ""
        return f"Once, on {self.at:%Y-%m-%d} at {told(self.at.time())}{zone}."


def counted_back(number: int) -> str:
    """``last`` for -1, ``2nd last`` for -2."""
    return "last" if number == -1 else f"{ordinal(-number)} last"


def months_from(start: date) -> Iterator[tuple[int, int]]:
    """Year and month, from that of ``start`` on."""
    for year in range(start.year, LAST_YEAR + 1):
        for month in range(start.month if year == start.year else 1, 13):
            yield year, month
