"""Hours of the day as people live them: quiet hours, and a time on each recipient's own clock.

Both go by what the clock on the wall shows. Where daylight saving skips a time, whatever was to
happen then happens at the change; where it repeats one, the clock shows it twice and both count:
quiet hours that end at a repeated time begin again with its repetition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_CLOCK = re.compile(r"\s*(\d{1,2}):(\d{2})\s*", re.ASCII)
LONGEST_SEARCH = timedelta(days=2)
"""For an hour that is quiet in none of several zones. Their pattern repeats each day, but for a
change of the clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From ``start`` to just before ``end`` on the wall, over midnight where that is earlier."""

    start: time
    end: time

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError("quiet hours that begin and end at the same time leave no hour")

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """The hours of ``21:00-08:00``.

        Raises:
            ValueError: it is something else.
        """
        start, dash, end = text.partition("-")
        if not dash:
            raise ValueError(f"{text!r} are no hours; write HH:MM-HH:MM, for example 21:00-08:00")
        return cls(start=parse_clock(start), end=parse_clock(end, midnight=True))

    def covers(self, clock: time) -> bool:
        """Whether that time on the wall is quiet."""
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def parse_clock(text: str, *, midnight: bool = False) -> time:
    """The time of ``9:00`` or ``09:00``; ``24:00`` too where ``midnight`` may be written so.

    Raises:
        ValueError: it is something else.
    """
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{text.strip()!r} is no time of day; write HH:MM, for example 09:00")
    hours, minutes = int(found[1]), int(found[2])
    if midnight and (hours, minutes) == (24, 0):
        hours = 0
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text.strip()!r} is no time of day; they go from 00:00 to 23:59")
    return time(hours, minutes)


def quiet_until(moment: datetime, zone: ZoneInfo, hours: QuietHours) -> datetime | None:
    """When the quiet hours end that ``moment`` lies in, in UTC; None when it lies in none."""
    now = moment.astimezone(UTC)
    if not hours.covers(_clock(now, zone)):
        return None
    while True:
        end = now + _until(_clock(now, zone), hours.end)
        changed = _change(now, end, zone)
        if changed is None:
            return end
        if not hours.covers(_clock(changed, zone)):
            return changed
        now = changed


def next_local(moment: datetime, zone: ZoneInfo, at: time) -> datetime:
    """The first time from ``moment`` on at which the clock there reaches ``at``, in UTC."""
    now = moment.astimezone(UTC)
    while True:
        due = now + _until(_clock(now, zone), at)
        changed = _change(now, due, zone)
        if changed is None:
            return due
        if due - changed <= _offset(changed, zone) - _offset(now, zone):
            return changed  # the clock jumps over it
        now = changed


def open_everywhere(
    moment: datetime, zones: Sequence[ZoneInfo], hours: QuietHours
) -> datetime | None:
    """The first time from ``moment`` on that is quiet in none of the zones, in UTC.

    None where there is no such hour: zones may lie so far apart that one is always asleep.
    """
    now = begin = moment.astimezone(UTC)
    while now - begin <= LONGEST_SEARCH:
        later = [end for zone in zones if (end := quiet_until(now, zone, hours)) is not None]
        if not later:
            return now
        now = max(later)
    return None


def westernmost(moment: datetime, zones: Sequence[ZoneInfo]) -> ZoneInfo:
    """The zone whose clock is the furthest behind; in the others the hour has come already."""
    return min(zones, key=lambda zone: (_offset(moment, zone), zone.key))


def _until(clock: time, at: time) -> timedelta:
    """How long the clock takes to that time, if nobody sets it meanwhile."""
    return (_since_midnight(at) - _since_midnight(clock)) % _DAY


def _since_midnight(clock: time) -> timedelta:
    return timedelta(
        hours=clock.hour,
        minutes=clock.minute,
        seconds=clock.second,
        microseconds=clock.microsecond,
    )


def _clock(moment: datetime, zone: ZoneInfo) -> time:
    return moment.astimezone(zone).time()


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _change(after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """The second at which the clocks are set, between two moments; None when they are not.

    No zone ever set its clocks forth and back within a day.
    """
    before = _offset(after, zone)
    if _offset(until, zone) == before:
        return None
    low, high = int(after.timestamp()), -int(-until.timestamp() // 1)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == before:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
