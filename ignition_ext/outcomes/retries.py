"""When a webhook that did not take a delivery is asked again: as Standard Webhooks recommends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between one attempt and the next: ten attempts in some three days."""
JITTER = 0.2
"""Share by which a delay grows at most, so that what failed together does not come together."""
LONGEST_PAUSE = timedelta(minutes=5)
"""For which an endpoint that fails is left alone; a delivery of its own waits longer."""
LONGEST_ASKED = timedelta(days=1)
"""The most that Retry-After may ask for."""
GONE = 410


def next_attempt(attempts: int, now: datetime, chance: Callable[[], float]) -> datetime | None:
    """When a delivery goes out again after so many attempts; None when that was the last.

    Args:
        attempts: those made, 1 or more.
        now: the time.
        chance: random numbers from 0 to 1.
    """
    if attempts > len(DELAYS):
        return None
    return now + DELAYS[attempts - 1] * (1 + JITTER * chance())


def pause(failures: int, now: datetime, chance: Callable[[], float]) -> datetime:
    """Until when an endpoint is left alone that failed so many times in a row."""
    delay = DELAYS[min(failures, len(DELAYS)) - 1]
    return now + min(delay, LONGEST_PAUSE) * (1 + JITTER * chance())


def asked_pause(header: str | None, now: datetime) -> datetime | None:
    """Until when Retry-After asks to be left alone (RFC 9110 section 10.2.3); None without one.

    Seconds or a date; what is neither is passed over.
    """
    if not header:
        return None
    written = header.strip()
    if written.isascii() and written.isdigit():
        # More digits than any wait of ours: timedelta would refuse them.
        seconds = int(written) if len(written) < 10 else LONGEST_ASKED.total_seconds()
        return min(now + timedelta(seconds=seconds), now + LONGEST_ASKED)
    try:
        until = parsedate_to_datetime(written)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return min(max(until, now), now + LONGEST_ASKED)
    except (ValueError, OverflowError):  # a zone or a year of twenty digits
        return None


def is_delivered(status: int) -> bool:
    """Only 2xx is; redirects are not followed."""
    return 200 <= status < 300


def is_unavailable(status: int) -> bool:
    """Whether it was the endpoint that could not, and not this delivery that it did not like."""
    return status in (0, 408, 429) or status >= 500
