"""Reads the fields of a Quartz expression: seconds first, a year perhaps last.

The grammar is that of Quartz's ``CronExpression``. What Quartz takes but silently reads as
something else (``MON-FRI/2``, ``1-5W``, ``MON,FRI#1``) is refused, with what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.clock import FIRST_YEAR, LAST_YEAR

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What one field may hold."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    steps: int = 0
    wraps: bool = True

    @property
    def all(self) -> tuple[int, ...]:
        """Every value, ascending."""
        return tuple(range(self.least, self.most + 1))


SECONDS = Field(name="seconds", least=0, most=59, steps=59)
MINUTES = Field(name="minutes", least=0, most=59, steps=59)
HOURS = Field(name="hours", least=0, most=23, steps=23)
DAY_OF_MONTH = Field(name="day of month", least=1, most=31, steps=31)
MONTH = Field(name="month", least=1, most=12, names=MONTHS, steps=12)
DAY_OF_WEEK = Field(name="day of week", least=1, most=7, names=DAYS, steps=7)
YEAR = Field(name="year", least=FIRST_YEAR, most=LAST_YEAR, steps=LAST_YEAR, wraps=False)

_RANGE = re.compile(r"(?P<start>\d+|[A-Z]{3}|\*|)(-(?P<stop>\d+|[A-Z]{3}))?(/(?P<step>\d+))?")
_LAST = re.compile(r"L(-(?P<before>\d+))?(?P<weekday>W)?")
_NEAREST = re.compile(r"(?P<day>\d+)W")
_NTH = re.compile(r"(?P<day>\d|[A-Z]{3})(#(?P<nth>\d+)|(?P<last>L))")
_MAX_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthDay:
    """A day counted from one end of the month, perhaps moved to the weekday nearest to it.

    ``day`` is from 1 at the start, or from 0 (the last) backwards when ``from_end``.
    """

    day: int
    from_end: bool = False
    weekday: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekDays:
    """Days of the week, 1 for Sunday; with ``nth`` only the nth of a month, the last for -1."""

    days: tuple[int, ...]
    nth: int = 0


DayRule = tuple[MonthDay, ...] | WeekDays


def read_values(text: str, field: Field) -> tuple[int, ...]:
    """The values of a field of numbers and names, ascending.

    Raises:
        ScheduleError: the text is none; names the field.
    """
    values: set[int] = set()
    for item in text.split(","):
        values.update(_range(item, field))
    return tuple(sorted(values))


def read_month_days(text: str) -> tuple[MonthDay, ...]:
    """The days of a month that the field *day of month* means.

    Raises:
        ScheduleError: it means none.
    """
    days: dict[MonthDay, None] = {}
    for item in text.split(","):
        if match := _LAST.fullmatch(item):
            before = _small(match["before"] or "0", DAY_OF_MONTH)
            if before > 30:
                raise _wrong(DAY_OF_MONTH, item, "no month is that long; L-30 is the most")
            days[MonthDay(day=before, from_end=True, weekday=bool(match["weekday"]))] = None
        elif match := _NEAREST.fullmatch(item):
            day = _within(_small(match["day"], DAY_OF_MONTH), item, DAY_OF_MONTH)
            days[MonthDay(day=day, weekday=True)] = None
        elif "W" in item and _RANGE.fullmatch(item.replace("W", "")):
            raise _wrong(DAY_OF_MONTH, item, "W goes with one day: write each, as in 1W,15W")
        else:
            days.update(dict.fromkeys(MonthDay(day=n) for n in _range(item, DAY_OF_MONTH)))
    return tuple(days)


def read_week_days(text: str) -> WeekDays:
    """The days that the field *day of week* means.

    Raises:
        ScheduleError: it means none.
    """
    if text == "L":
        return WeekDays(days=(7,))
    items = text.split(",")
    for item in items:
        match = _NTH.fullmatch(item)
        if match is None:
            continue
        if len(items) > 1:
            raise _wrong(DAY_OF_WEEK, text, "Quartz takes # and L only alone: write two schedules")
        day = _number(match["day"], item, DAY_OF_WEEK)
        nth = -1 if match["last"] else int(match["nth"])
        if not (nth == -1 or 1 <= nth <= 5):
            raise _wrong(DAY_OF_WEEK, item, "after # stands 1 to 5; for the last write L")
        return WeekDays(days=(day,), nth=nth)
    return WeekDays(days=read_values(text, DAY_OF_WEEK))


def _range(item: str, field: Field) -> range | list[int]:
    match = _RANGE.fullmatch(item)
    if match is None or not item or (not match["start"] and match["step"] is None):
        raise _wrong(field, item, _expected(field))
    parts: Mapping[str, str | None] = match.groupdict()
    start, stop, step = parts["start"] or "*", parts["stop"], parts["step"]
    if stop is not None and start == "*":
        raise _wrong(field, item, "a range has a start: write 1-5")
    if step is not None and (start.isalpha() or (stop or "").isalpha()):
        raise _wrong(field, item, "Quartz ignores a step after names: write numbers, as in 2-6/2")
    by = 1 if step is None else _step(step, item, field)
    if start == "*":
        return range(field.least, field.most + 1, by)
    first = _number(start, item, field)
    if stop is None:
        return range(first, (first if step is None else field.most) + 1, by)
    last = _number(stop, item, field)
    if first <= last:
        return range(first, last + 1, by)
    if not field.wraps:
        raise _wrong(field, item, f"the range ends before it starts: write {stop}-{start}")
    span = field.most - field.least + 1
    return [(n - field.least) % span + field.least for n in range(first, last + span + 1, by)]


def _step(text: str, item: str, field: Field) -> int:
    step = _small(text, field)
    if not 1 <= step <= field.steps:
        raise _wrong(field, item, f"a step is from 1 to {field.steps}")
    return step


def _number(text: str, item: str, field: Field) -> int:
    if text.isalpha():
        if text not in field.names:
            raise _wrong(field, item, _expected(field))
        return field.names.index(text) + field.least
    return _within(_small(text, field), item, field)


def _within(value: int, item: str, field: Field) -> int:
    if not field.least <= value <= field.most:
        raise _wrong(field, item, _expected(field))
    return value


def _small(text: str, field: Field) -> int:
    if len(text) > _MAX_DIGITS:
        raise _wrong(field, text, _expected(field))
    return int(text)


def _expected(field: Field) -> str:
    if field is DAY_OF_WEEK:
        return "write 1 (Sunday) to 7 (Saturday) or SUN to SAT, also 6L (last Friday) or 6#3"
    if field is DAY_OF_MONTH:
        return "write 1 to 31, L, L-3, LW or 15W"
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return f"write {field.least} to {field.most}{names}, with , - and /"


def _wrong(field: Field, item: str, mend: str) -> ScheduleError:
    return ScheduleError(
        f"{item!r} is not something that Quartz's {field.name} can be",
        field=field.name,
        mend=f"{mend[0].upper()}{mend[1:]}.",
    )
