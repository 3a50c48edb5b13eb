"""Frequency caps: at most so many messages to an address within so many days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ignition_ext.errors import ConfigurationError

MOST_MESSAGES = 1_000
"""Messages within a window: beyond what anybody reads, so a slip of the pen."""
MOST_DAYS = 366
"""Days of a window: what a claim counts is kept for as long."""
MOST_CAPS = 5
"""Caps on a channel: each costs a claim one more question."""


@dataclass(frozen=True, slots=True, order=True)
class Cap:
    """At most ``messages`` to an address within ``days``, counted back from each claim."""

    messages: int
    days: int

    def __str__(self) -> str:
        return f"{self.messages} in {self.days} {'day' if self.days == 1 else 'days'}"


def read_caps(key: str, value: Any) -> tuple[Cap, ...]:
    """The caps of a tenant's setting: ``{"messages": 3, "days": 7}``, or a list of such.

    Raises:
        ConfigurationError: it is neither.
    """
    given = value if isinstance(value, list) else [value]
    if not 1 <= len(given) <= MOST_CAPS:
        raise _unfit(key, value)
    return tuple(_cap(key, one) for one in given)


def _cap(key: str, value: Any) -> Cap:
    if not isinstance(value, Mapping) or set(value) != {"messages", "days"}:
        raise _unfit(key, value)
    messages, days = value["messages"], value["days"]
    if not _within(messages, MOST_MESSAGES) or not _within(days, MOST_DAYS):
        raise _unfit(key, value)
    return Cap(messages, days)


def _within(number: Any, most: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= most


def _unfit(key: str, value: Any) -> ConfigurationError:
    return ConfigurationError(
        f"{value!r} cannot be {key}.",
        mend=f'Give {{"messages": 3, "days": 7}} or a list of up to {MOST_CAPS} such, with at most'
        f" {MOST_MESSAGES} messages and {MOST_DAYS} days; null for no cap.",
    )
