"""How fast one bind may write: a token bucket, and a back-off when the SMSC says "too fast".

A throttled answer pauses the bind, halves its window and its rate (once a pause, however many
answers say so), and doubles the next pause; answered parts win both back step by step.
"""

from __future__ import annotations

from random import uniform

from ignition_ext.channels.smpp.options import SmppOptions

_SLOWEST = 1 / 32
_STEP = 1 / 16
"""Additive increase: sixteen windows' worth of good answers lead from nothing to full speed."""

_BURST_SECONDS = 0.1
"""Unused tokens are kept for this long: enough for an event loop's hiccup, too little for a
burst that a carrier's one-second counter would notice."""


class Pace:
    """Decides how many parts may be written; ``now`` is always monotonic seconds.

    The time is handed in, so that who writes and then asks how long to wait asks about one and
    the same moment: a token that comes in between would be waited for in vain.
    """

    def __init__(self, options: SmppOptions, now: float) -> None:
        self._options = options
        self._factor = 1.0
        self._paused_until = 0.0
        self._pauses = 0
        self._good = 0
        self._tokens = 1.0
        self._filled_at = now

    @property
    def window(self) -> int:
        """How many parts may be unanswered now."""
        return max(1, int(self._options.window * self._factor))

    def allowance(self, now: float) -> int:
        """How many parts may be written now."""
        if now < self._paused_until:
            return 0
        rate = self._rate
        if rate is None:
            return self._options.window
        self._refill(now, rate)
        return int(self._tokens)

    def wait(self, now: float) -> float:
        """Seconds until a part may be written; 0 when it may be now."""
        if now < self._paused_until:
            return self._paused_until - now
        rate = self._rate
        if rate is None:
            return 0.0
        self._refill(now, rate)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / rate

    def soon(self, now: float) -> int:
        """How many parts may be written within a quarter of a second, at least 1; 0 in a pause."""
        if now < self._paused_until:
            return 0
        rate = self._rate
        return self._options.window if rate is None else max(1, int(rate / 4))

    def spend(self, count: int) -> None:
        """Take the tokens of parts that are written."""
        if self._options.rate is not None:
            self._tokens -= count

    def answered(self, count: int, now: float) -> None:
        """So many parts were answered without a complaint about speed."""
        if now < self._paused_until:
            return
        self._good += count
        while self._good >= self.window:
            self._good -= self.window
            self._pauses = 0
            if self._factor >= 1:
                self._good = 0
                return
            self._factor = min(1.0, self._factor + _STEP)

    def throttled(self, now: float) -> None:
        """The SMSC said that it is too fast, or that its queue is full."""
        if now < self._paused_until:
            return
        base, most = self._options.throttle_base, self._options.throttle_max
        pause = min(most, base * 2**self._pauses)
        # Jitter, or all binds of all nodes come back in the same moment.
        self._paused_until = now + pause * uniform(0.75, 1.25)  # noqa: S311  no secret
        self._pauses, self._good = min(self._pauses + 1, 16), 0
        self._factor = max(_SLOWEST, self._factor / 2)

    @property
    def _rate(self) -> float | None:
        rate = self._options.rate
        return None if rate is None else rate * self._factor

    def _refill(self, now: float, rate: float) -> None:
        most = max(1.0, rate * _BURST_SECONDS)
        self._tokens = min(most, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
