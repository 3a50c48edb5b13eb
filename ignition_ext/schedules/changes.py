"""When a zone's clocks change, and which times on the wall that skips or repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_YEARS_KEPT = 4096
"""Years of zones that are remembered: a handful of zones, looked at some years ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a zone's offset from UTC; ``at`` is the first moment of the new one."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def skips(self) -> bool:
        """Whether times on the wall are left out; else some come twice."""
        return self.after > self.before

    @property
    def walls(self) -> tuple[datetime, datetime]:
        """The times on the wall that are skipped or come twice, without a zone; the end is not."""
        moment = self.at.replace(tzinfo=None)
        return min(moment + self.before, moment + self.after), max(
            moment + self.before, moment + self.after
        )


def changes(where: ZoneInfo, start: datetime, end: datetime) -> Iterator[Change]:
    """The zone's changes from ``start`` to before ``end``, ascending."""
    for year in range(start.year, end.year + 1):
        for change in _of_year(where, year):
            if start <= change.at < end:
                yield change


@lru_cache(maxsize=_YEARS_KEPT)
def _of_year(where: ZoneInfo, year: int) -> tuple[Change, ...]:
    found, moment = [], datetime(year, 1, 1, tzinfo=UTC)
    while moment.year == year:
        before, after = _offset(moment, where), _offset(moment + _DAY, where)
        if before != after:
            found.append(Change(at=_first(moment, where, after), before=before, after=after))
        moment += _DAY
    return tuple(found)


def _first(moment: datetime, where: ZoneInfo, after: timedelta) -> datetime:
    """The first second within a day of ``moment`` with that offset."""
    low, high = 0, int(_DAY.total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(moment + middle * _SECOND, where) == after:
            high = middle
        else:
            low = middle
    return moment + high * _SECOND


def _offset(moment: datetime, where: ZoneInfo) -> timedelta:
    offset = moment.astimezone(where).utcoffset()
    assert offset is not None
    return offset
