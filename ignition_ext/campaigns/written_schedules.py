"""Schedules as a file writes them, each kind by its keys; read without the rest of a campaign.

A mapping names exactly one kind, perhaps a ``timezone``, and what belongs to its kind:

===================  =====================================================================
``cron``             ``"0 8 * * MON-FRI"``
``quartz``           ``"0 0 8 ? * MON-FRI"``
``rrule``            ``"FREQ=DAILY;BYHOUR=8"``
``interval``         ``15m``
``every``            ``hour``, ``day``, ``week`` or ``month``, with ``at`` and ``on``
``business_day``     ``3``, ``last`` or ``-2``, with ``at``, ``calendar``, ``dates``, ``roll``
``once``             ``2026-12-01T09:00``
``once_after``       ``2h``
===================  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from ignition_ext.campaigns.duration import LONGEST, parse_duration
from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.business import BusinessDay, Calendar, Roll, RolledMonthly
from ignition_ext.schedules.clock import zone
from ignition_ext.schedules.cron import CronSchedule
from ignition_ext.schedules.interval import IntervalSchedule
from ignition_ext.schedules.quartz import QuartzSchedule
from ignition_ext.schedules.quartz_fields import DAY_OF_WEEK, read_values
from ignition_ext.schedules.recurring import Hourly, Monthly, Once, Weekly, read_time
from ignition_ext.schedules.rrule import RuleSchedule
from ignition_ext.schedules.schedule import Schedule

MIDNIGHT: Final = "00:00"
_MINUTE = re.compile(r"(?:0?0?:)?([0-5]?\d)", re.ASCII)
_OWN_KEYS: Mapping[str, frozenset[str]] = {
    "cron": frozenset(),
    "quartz": frozenset(),
    "rrule": frozenset(),
    "interval": frozenset(),
    "every": frozenset({"at", "on", "calendar", "dates", "roll"}),
    "business_day": frozenset({"at", "calendar", "dates", "roll"}),
    "once": frozenset(),
    "once_after": frozenset(),
}
KINDS: Final = tuple(_OWN_KEYS)
OWN_WORDS: Final = frozenset[str]().union(*_OWN_KEYS.values())
_SHARED_KEYS = frozenset({"timezone", "active", "condition", "misfire", "grace"})
"""What may stand beside every kind; a campaign's run acts on it, a preview does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSchedule:
    """A schedule and the zone that was written beside it; None where there is none."""

    schedule: Schedule
    timezone: ZoneInfo | None = None

    def occurrences(self, after: datetime, otherwise: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, in the schedule's zone or the other one."""
        return self.schedule.occurrences(after, self.timezone or otherwise)


def read_schedule(
    written: Mapping[str, Any], *, now: datetime, holidays: Collection[date] = ()
) -> WrittenSchedule:
    """Read one schedule.

    Args:
        written: The mapping.
        now: What ``once_after`` counts from.
        holidays: Days that are no business days in any calendar: the tenant's own.

    Raises:
        ScheduleError: a key or a value is not what it can be.
    """
    kinds = [kind for kind in _OWN_KEYS if written.get(kind) is not None]
    if len(kinds) != 1:
        raise ScheduleError(
            "a schedule has exactly one kind" if kinds else "a schedule needs a kind",
            mend=f"Give one of {', '.join(_OWN_KEYS)}.",
        )
    (kind,) = kinds
    for key in written:
        if key not in _OWN_KEYS[kind] | _SHARED_KEYS | {kind}:
            raise ScheduleError(f"it does not go with {kind}", field=str(key))
    named = written.get("timezone")
    return WrittenSchedule(
        schedule=_read(kind, written, now, holidays),
        timezone=None if named is None else zone(str(named)),
    )


def read_schedules(document: Any, *, now: datetime) -> list[WrittenSchedule]:
    """Those of a campaign file's ``schedules``, of a list, or one alone.

    Raises:
        ScheduleError: there is none, or one is wrong; the field says which.
    """
    if isinstance(document, Mapping) and "schedules" in document:
        document = document["schedules"]
    items = document if isinstance(document, list) else [document]
    if not items or not all(isinstance(item, Mapping) for item in items):
        raise ScheduleError(
            "there is no schedule in it",
            field="schedules",
            mend='Write a list such as: schedules: [{cron: "0 8 * * *"}].',
        )
    found = []
    for number, item in enumerate(items):
        try:
            found.append(read_schedule(item, now=now))
        except ScheduleError as error:
            if len(items) == 1:
                raise
            raise ScheduleError(
                error.message, field=f"schedules.{number}", mend=error.mend
            ) from error
    return found


def _read(
    kind: str, written: Mapping[str, Any], now: datetime, holidays: Collection[date]
) -> Schedule:
    value = str(written[kind])
    match kind:
        case "cron":
            return CronSchedule.parse(value)
        case "quartz":
            return QuartzSchedule.parse(value)
        case "rrule":
            return RuleSchedule.parse(value)
        case "interval":
            return IntervalSchedule(every=_value(kind, value, parse_duration))
        case "once":
            return Once(at=_value(kind, value, datetime.fromisoformat))
        case "once_after":
            moment = now + _delay(value)
            return Once(at=moment.replace(microsecond=0))
        case "business_day":
            return BusinessDay(
                number=_count(kind, value),
                at=read_time(str(written.get("at", MIDNIGHT))),
                calendar=_calendar(written, holidays),
                roll=_value("roll", str(written.get("roll", Roll.NONE)), Roll),
            )
        case _:
            return _every(value, written, holidays)


def _every(period: str, written: Mapping[str, Any], holidays: Collection[date]) -> Schedule:
    at, on = str(written.get("at", MIDNIGHT)), written.get("on")
    words = [str(item) for item in on] if isinstance(on, list) else str(on or "").split(",")
    match period:
        case "hour":
            return Hourly(minute=_minute(at))
        case "day":
            return Weekly(at=read_time(at))
        case "week":
            return Weekly(at=read_time(at), days=_week_days(",".join(words).upper()))
        case "month":
            monthly = Monthly(at=read_time(at), days=tuple(_count("on", word) for word in words))
            if "calendar" not in written:
                return monthly
            roll = _value("roll", str(written.get("roll", Roll.NONE)), Roll)
            return RolledMonthly(monthly=monthly, calendar=_calendar(written, holidays), roll=roll)
        case _:
            raise ScheduleError(
                f"{period!r} is no period", field="every", mend="Write hour, day, week or month."
            )


def _delay(text: str) -> timedelta:
    delay: timedelta = _value("once_after", text, parse_duration)
    if not timedelta(0) < delay <= LONGEST:
        raise ScheduleError(
            f"{text} is not more than nothing and at most ten years", field="once_after"
        )
    return delay


def _minute(text: str) -> int:
    match = _MINUTE.fullmatch(text)
    if match is None:
        raise ScheduleError(
            f"{text!r} is no minute of an hour", field="at", mend='Write 0 to 59, or ":15".'
        )
    return int(match[1])


def _week_days(text: str) -> tuple[int, ...]:
    if any(sign.isdigit() for sign in text):
        raise ScheduleError(
            f"{text!r}: cron and Quartz count the days of the week differently",
            field="on",
            mend="Write names: MON, or MON-FRI.",
        )
    return read_values(text, DAY_OF_WEEK)


def _calendar(written: Mapping[str, Any], holidays: Collection[date]) -> Calendar:
    code = written.get("calendar")
    if code is None:
        raise ScheduleError(
            "business days need a calendar", field="calendar", mend="Write one such as DE-BY."
        )
    dates = written.get("dates") or []
    own = {_value("dates", str(item), date.fromisoformat) for item in dates}
    return Calendar.load(str(code), dates=own | set(holidays))


def _count(field: str, text: str) -> int:
    return -1 if text.strip().lower() in ("last", "l") else _value(field, text, int)


def _value(field: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except (ValueError, OverflowError) as error:
        raise ScheduleError(str(error), field=field) from error
