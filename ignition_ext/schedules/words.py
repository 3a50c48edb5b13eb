"""Schedules in words, for people who do not read cron."""

from __future__ import annotations

from collections.abc import Sequence

from ignition_ext.schedules import quartz_fields as fields
from ignition_ext.schedules.quartz_fields import DayRule, Field, MonthDay, WeekDays

MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_FEW = 6
"""So many single times are listed as 08:00, 12:00; more are told by their fields."""
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}  # codespell:ignore nd


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    tens = number // 10 % 10
    return f"{number}{'th' if tens == 1 else _ENDINGS.get(number % 10, 'th')}"


def listed(items: Sequence[str], joint: str = "and") -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {joint} {items[-1]}"


def quartz_in_words(
    *,
    seconds: Sequence[int],
    minutes: Sequence[int],
    hours: Sequence[int],
    days: DayRule,
    months: Sequence[int],
    years: Sequence[int],
) -> str:
    """One sentence for what the fields of a Quartz expression say."""
    parts = [times_in_words(seconds, minutes, hours), _days_in_words(days)]
    if len(months) < len(MONTH_NAMES):
        parts.append(f"in {listed([MONTH_NAMES[month - 1] for month in months])}")
    if len(years) < len(fields.YEAR.all):
        parts.append(f"in {listed(_spans(years))}")
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def times_in_words(seconds: Sequence[int], minutes: Sequence[int], hours: Sequence[int]) -> str:
    """When on a day."""
    if len(seconds) * len(minutes) * len(hours) <= _FEW:
        precise = seconds != (0,) and list(seconds) != [0]
        times = [
            f"{hour:02}:{minute:02}" + (f":{second:02}" if precise else "")
            for hour in hours
            for minute in minutes
            for second in seconds
        ]
        return f"at {listed(times)}"
    parts = []
    if list(seconds) != [0]:
        parts.append(_unit(seconds, fields.SECONDS, "second"))
    if len(minutes) < len(fields.MINUTES.all) or not parts:
        parts.append(_unit(minutes, fields.MINUTES, "minute"))
    if len(hours) < len(fields.HOURS.all):
        parts.append(_unit(hours, fields.HOURS, "hour"))
    return " of ".join(parts) if len(parts) > 1 else parts[0]


def week_days_in_words(days: Sequence[int]) -> str:
    """``Monday to Friday``; 1 is Sunday."""
    if list(days) == [2, 3, 4, 5, 6]:
        return "Monday to Friday"
    # A week is told from Monday on.
    return listed([DAY_NAMES[day - 1] for day in sorted(days, key=lambda day: (day - 2) % 7)])


def month_day_in_words(day: MonthDay) -> str:
    """``the 15th``, ``the last day``, ``the weekday nearest to the 1st``."""
    if not day.from_end:
        name = f"the {ordinal(day.day)}"
    elif day.day == 0:
        name = "the last day"
    else:
        name = f"the {ordinal(day.day + 1)} last day"
    if not day.weekday:
        return name
    if day.from_end and day.day == 0:
        return "the last weekday"
    return f"the weekday nearest to {name}"


def _days_in_words(rule: DayRule) -> str:
    match rule:
        case WeekDays(days=days, nth=0):
            return "every day" if len(days) == 7 else f"on {week_days_in_words(days)}"
        case WeekDays(days=days, nth=nth):
            which = "last" if nth == -1 else ordinal(nth)
            return f"on the {which} {DAY_NAMES[days[0] - 1]} of the month"
        case _:
            if len(rule) == fields.DAY_OF_MONTH.most:
                return "every day"
            plain = [day for day in rule if not (day.from_end or day.weekday)]
            special = [month_day_in_words(day) for day in rule if day.from_end or day.weekday]
            spans = [f"the {span}" for span in _ordinal_spans([day.day for day in plain])]
            return f"on {listed(spans + special)} of the month"


def _unit(values: Sequence[int], field: Field, unit: str) -> str:
    if len(values) == len(field.all):
        return f"every {unit}"
    step = values[1] - values[0] if len(values) > 2 else 1
    if step > 1 and list(values) == list(range(values[0], field.most + 1, step)):
        start = f" from {unit} {values[0]}" if values[0] != field.least else ""
        return f"every {ordinal(step)} {unit}{start}"
    plural = "s" if len(values) > 1 else ""
    return f"{unit}{plural} {listed(_spans(values))}"


def _spans(values: Sequence[int]) -> list[str]:
    return [f"{a}" if a == b else f"{a} to {b}" for a, b in _runs(values)]


def _ordinal_spans(values: Sequence[int]) -> list[str]:
    return [
        ordinal(a) if a == b else f"{ordinal(a)} to {ordinal(b)}" for a, b in _runs(sorted(values))
    ]


def _runs(values: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours as (first, last); a pair of them stays two."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    apart: list[tuple[int, int]] = []
    for first, last in runs:
        apart += [(first, first), (last, last)] if last == first + 1 else [(first, last)]
    return apart
