"""Which of the times that were missed are made up for.

The moments may be of a class of their own, as Prefect's client gives them (pendulum's cannot be
divided by an interval): they are taken as the standard library's.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from itertools import takewhile
from zoneinfo import ZoneInfo

from ignition_ext.schedules.schedule import Schedule


def overtaken_by(
    schedule: Schedule, where: ZoneInfo, missed: datetime, now: datetime
) -> datetime | None:
    """The next time after the missed one, if it has come as well."""
    following = next(schedule.occurrences(_plain(missed), where), None)
    return following if following is not None and following <= now else None


def missed_times(
    schedule: Schedule, where: ZoneInfo, since: datetime, until: datetime, *, most: int
) -> list[datetime]:
    """The newest times later than ``since`` and not later than ``until``, ascending."""
    times = takewhile(lambda at: at <= until, schedule.occurrences(_plain(since), where))
    return list(deque(times, maxlen=most))


def _plain(moment: datetime) -> datetime:
    utc = moment.astimezone(UTC)
    time = (utc.hour, utc.minute, utc.second, utc.microsecond)
    return datetime(utc.year, utc.month, utc.day, *time, tzinfo=UTC)
