"""Every so often, counted from a fixed moment so that it does not matter when it was applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.clock import LAST_YEAR, in_order, prefect_moment, start_of_walls

ANCHOR = datetime(2020, 1, 1)
"""Midnight on the schedule's wall, so that 24h means midnight and 6h means 0, 6, 12 and 18."""
LONGEST = timedelta(days=3660)
"""Ten years, as for every duration: more is a slip of the pen."""
_DAY = timedelta(days=1)
_UNITS = ((7 * _DAY, "week"), (_DAY, "day"), (_DAY / 24, "hour"), (_DAY / 1440, "minute"))


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalSchedule:
    """An interval of whole seconds, counted from ``anchor`` on the schedule's wall.

    Whole days go by the calendar and keep the time on the wall; everything else is elapsed time,
    so that every hour is every hour also when the clocks change.
    """

    every: timedelta
    anchor: datetime = ANCHOR

    def __post_init__(self) -> None:
        """Refuse what never comes and what no clock here can tell."""
        if not timedelta(seconds=1) <= self.every <= LONGEST or self.every.microseconds:
            raise ScheduleError(
                f"{self.every} is not a number of whole seconds, from one to ten years of them",
                field="interval",
            )

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending."""
        if self.every % _DAY == timedelta():
            walls = self._walls(start_of_walls(after, timezone))
            yield from in_order(walls, timezone, after=after)
            return
        moment = prefect_moment(self.anchor, timezone)
        if after >= moment:
            moment += ((after - moment) // self.every + 1) * self.every
        while moment.year <= LAST_YEAR:
            yield moment.astimezone(UTC)
            moment += self.every

    def explain(self) -> str:
        """The schedule in words."""
        for unit, name in _UNITS:
            if self.every % unit == timedelta():
                count = self.every // unit
                often = name if count == 1 else f"{count} {name}s"
                break
        else:
            count = int(self.every.total_seconds())
            often = "second" if count == 1 else f"{count} seconds"
        return f"Every {often}, counted from {self.anchor:%Y-%m-%d %H:%M}."

    def _walls(self, start: datetime) -> Iterator[datetime]:
        shown = self.anchor
        if start > shown:
            shown += ((start - shown) // self.every) * self.every
        while shown.year <= LAST_YEAR:
            yield shown
            shown += self.every
