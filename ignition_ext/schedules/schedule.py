"""What every kind of schedule can do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo


class Schedule(Protocol):
    """When something runs by itself: a frozen value that knows neither now nor its zone."""

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after``, in UTC and ascending, each once.

        Ends when there are no more, at the latest with the year 2199.

        Args:
            after: A moment with a zone.
            timezone: Where the schedule's clock hangs.
        """
        ...

    def explain(self) -> str:
        """The schedule in words: one English sentence without the zone."""
        ...
