"""A rate over all connections of one transport."""

from __future__ import annotations

from collections.abc import Callable

# What was missed (a slow reply, a busy event loop) may be caught up on within this many seconds;
# more would be a burst that the server's own limit notices.
_CATCH_UP_SECONDS = 0.1


class TokenBucket:
    """Spreads messages evenly; ``clock`` is monotonic seconds."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        if per_second <= 0:
            raise ValueError("per_second must be above 0")
        self._interval = 1 / per_second
        self._clock = clock
        self._next = clock()

    def reserve(self) -> float:
        """Take the next place in line; returns the seconds to wait until it is due."""
        now = self._clock()
        due = max(self._next, now - _CATCH_UP_SECONDS)
        self._next = due + self._interval
        return max(0.0, due - now)
