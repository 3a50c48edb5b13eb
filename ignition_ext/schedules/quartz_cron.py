"""Quartz expressions that Prefect's cron says too: in the UI they are plain to see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ignition_ext.schedules import quartz_fields as fields
from ignition_ext.schedules.changes import changes
from ignition_ext.schedules.cron import CronSchedule
from ignition_ext.schedules.quartz import QuartzSchedule
from ignition_ext.schedules.quartz_fields import DayRule, Field, WeekDays

LOOKED_AHEAD = timedelta(days=366 * 12)
"""Changes of the clock that are looked at: each date has been on each day of the week by then."""


def is_safe(schedule: QuartzSchedule, where: ZoneInfo, begin: datetime) -> bool:
    """Whether no change of the clock skips or repeats a time of it: there the engines differ."""
    return not any(
        touches(schedule, *change.walls) for change in changes(where, begin, begin + LOOKED_AHEAD)
    )


def touches(schedule: QuartzSchedule, start: datetime, end: datetime) -> bool:
    """Whether it means a time on the wall from ``start`` to before ``end``."""
    first = next(schedule.walls(start), None)
    return first is not None and first < end


def as_cron(schedule: QuartzSchedule) -> CronSchedule | None:
    """The same in five fields; None where there is no such thing."""
    days = _days(schedule.days)
    if days is None or schedule.seconds != (0,) or schedule.years != fields.YEAR.all:
        return None
    of_month, of_week = days
    return CronSchedule.parse(
        " ".join(
            (
                _written(schedule.minutes, fields.MINUTES),
                _written(schedule.hours, fields.HOURS),
                of_month,
                _written(schedule.months, fields.MONTH),
                of_week,
            )
        )
    )


def _days(rule: DayRule) -> tuple[str, str] | None:
    """The two fields for days. Only what every cron reads alike: no L, W and #."""
    if isinstance(rule, WeekDays):
        if rule.nth:
            return None
        # Cron counts from Sunday as 0.
        return "*", _written([day - 1 for day in rule.days], _WEEK)
    if any(day.from_end or day.weekday for day in rule):
        return None
    return _written(sorted(day.day for day in rule), fields.DAY_OF_MONTH), "*"


_WEEK = Field(name="day of week", least=0, most=6)


def _written(values: Sequence[int], field: Field) -> str:
    """``*``, ``*/15``, ``1-5`` or a list."""
    if tuple(values) == field.all:
        return "*"
    step = values[1] - values[0] if len(values) > 2 else 0
    if step > 1 and list(values) == list(range(field.least, field.most + 1, step)):
        return f"*/{step}"
    if len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]}-{values[-1]}"
    return ",".join(map(str, values))
