"""Durations as operators write them: ``30s``, ``10m``, ``6h``, ``2d``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

LONGEST = timedelta(days=3660)
"""Ten years: more is a slip of the pen, and timedelta arithmetic stays far from its limits."""

_WRITTEN = re.compile(r"^\s*(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d|w)\s*$", re.ASCII)
_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def parse_duration(value: Any) -> Any:
    """``30s``, ``10m``, ``6h``, ``2d`` as a timedelta; a timedelta stays what it is.

    A bare number is refused: nobody can tell seconds from minutes by looking at it.
    """
    if isinstance(value, timedelta):
        return value
    match = _WRITTEN.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and ms, s, m, h, d or w")
    return float(match[1]) * _UNITS[match[2]]


def write_duration(value: timedelta) -> str:
    """The shortest text that :func:`parse_duration` reads back as the same duration."""
    for unit, length in _UNITS.items():
        if value >= length and value % length == timedelta(0):
            return f"{value // length}{unit}"
    return f"{value / _UNITS['ms']:.3f}ms"


def _bounded(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST:
        raise ValueError(f"{value} is not more than nothing and at most {LONGEST.days} days")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_bounded),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
]
