"""Quiet hours and local times as campaign files write them."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from ignition_ext.schedules.local_time import QuietHours, parse_clock


def _quiet_hours(value: Any) -> Any:
    if isinstance(value, QuietHours):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} are no hours; write HH:MM-HH:MM, for example 21:00-08:00")
    return QuietHours.parse(value)


def _local_time(value: Any) -> Any:
    """``true``, a time of day, or nothing."""
    if value is None or isinstance(value, bool | time):
        return value or None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is neither true nor a time of day such as 09:00")
    return parse_clock(value)


def _written(value: Any) -> Any:
    return f"{value:%H:%M}" if isinstance(value, time) else value


QuietSpan = Annotated[
    QuietHours,
    BeforeValidator(_quiet_hours),
    PlainSerializer(str, return_type=str, when_used="json"),
]
"""Hours in which nothing is sent, by each recipient's clock: ``21:00-08:00``."""
LocalTimeSpec = Annotated[
    bool | time | None, BeforeValidator(_local_time), PlainSerializer(_written, when_used="json")
]
"""``true``: at the run's time on each recipient's clock; ``09:00``: at that time on it."""
