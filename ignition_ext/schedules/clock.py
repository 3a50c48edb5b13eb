"""What a clock on the wall means in UTC, also where daylight saving skips or repeats its time.

Each dialect has its engine's rule. With ``first`` and ``second`` the two readings of a wall time
(PEP 495: fold 0 and 1) they are equal on ordinary days; a repeated time has ``first < second``; a
skipped one has ``first > second``, because the offset from before the change comes first.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from ignition_ext.errors import ScheduleError

FIRST_YEAR, LAST_YEAR = 1970, 2199
"""Where every iteration begins and ends: no zone's rules, and no campaign, are known that far."""
_LONGEST_CHANGE = timedelta(hours=26)
"""Samoa once skipped a whole day; nothing ever moved a clock further."""
_GAP_GOES_BACK = sys.version_info < (3, 13)
"""Prefect resolves times with pendulum there, and with whenever from Python 3.13 on."""


def zone(name: str) -> ZoneInfo:
    """The time zone of that name.

    Raises:
        ScheduleError: the IANA database has none; ``CEST`` and ``+02:00`` know no summer time.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ScheduleError(
            f"{name!r} is not a time zone",
            field="timezone",
            mend="Use an IANA name such as Europe/Berlin.",
        ) from error


def wall(moment: datetime, where: ZoneInfo) -> datetime:
    """What the clock on the wall shows at that moment, without a zone."""
    return moment.astimezone(where).replace(tzinfo=None, fold=0)


def readings(shown: datetime, where: ZoneInfo) -> tuple[datetime, datetime]:
    """Both moments in UTC at which the wall may have shown that time."""
    local = shown.replace(tzinfo=where)
    return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)


def prefect_moment(shown: datetime, where: ZoneInfo) -> datetime:
    """As Prefect fires it: a repeated time once, at first; a skipped one moved by the gap.

    Prefect moves it to before the gap on Python 3.11 and 3.12, and to behind it from 3.13 on.
    """
    first, second = readings(shown, where)
    return min(first, second) if _GAP_GOES_BACK else first


def quartz_moment(shown: datetime, where: ZoneInfo) -> datetime | None:
    """As Quartz fires it: a repeated time once, the second time; a skipped one not at all."""
    first, second = readings(shown, where)
    return None if first > second else second


def in_order(walls: Iterable[datetime], where: ZoneInfo, *, after: datetime) -> Iterator[datetime]:
    """Prefect's moments of ascending wall times: ascending too, each once, later than ``after``.

    A time moved out of a gap may come before one that the wall showed earlier; near a change of
    the clock they are held back until that can no longer be.
    """
    waiting: list[datetime] = []
    last = after
    for shown in walls:
        moment = prefect_moment(shown, where)
        safe = moment - _LONGEST_CHANGE if _changes_near(shown, where) else moment
        heapq.heappush(waiting, moment)
        while waiting and waiting[0] <= safe:
            due = heapq.heappop(waiting)
            if due > last:
                yield due
                last = due
    while waiting:
        due = heapq.heappop(waiting)
        if due > last:
            yield due
            last = due


def _changes_near(shown: datetime, where: ZoneInfo) -> bool:
    around = (shown - _LONGEST_CHANGE, shown, shown + _LONGEST_CHANGE)
    return len({moment.replace(tzinfo=where).utcoffset() for moment in around}) > 1


def start_of_walls(after: datetime, where: ZoneInfo) -> datetime:
    """A wall time from which on :func:`in_order` misses nothing later than ``after``."""
    shown = wall(after, where)
    return shown - _LONGEST_CHANGE if _changes_near(shown, where) else shown
