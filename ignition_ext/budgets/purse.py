"""The places of one rate that this process holds, to be used evenly, each in its time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from ignition_ext.budgets.rate import Grant, Limit

LEAD = 0.2
"""Seconds before the last place is due that the next ones are asked for: longer than a
transaction takes, short enough that the rest need not be given back often."""
LATE = 0.25
"""Seconds that places may be used late: a hiccup of this node costs nothing."""
FIRST = 32
"""Places asked for at first by a sender of which nothing is known; each full use doubles it."""
MOST = 1_000_000
QUIET = 30.0
"""Seconds after which a line whose places were too far ahead is asked again: its rate may have
been raised meanwhile."""


@dataclass(slots=True)
class _Interval:
    """Some places: the first at ``start``, one each ``step`` seconds, ``used`` of them taken.

    They may be made up for when ``start`` had passed already at the time they were ``given``.
    """

    start: float
    step: float
    tokens: int
    given: float
    used: int = 0

    @property
    def due(self) -> float:
        return self.start + self.used * self.step

    @property
    def end(self) -> float:
        return self.start + self.tokens * self.step

    @property
    def lapses(self) -> float:
        return max(self.end, self.given) + LATE


class Purse:
    """Holds places of one line; times are seconds of one monotonic clock.

    Args:
        limit: the rate, as far as known; a newer one is learnt with each grant.
        patience: places further ahead than this many seconds are not taken.
        exact: ask for at most ``needed`` places at a time; otherwise for as many as are soon used.

    Attributes:
        needed: messages that wait for a place, in an exact purse.
    """

    def __init__(self, limit: Limit, *, patience: float = math.inf, exact: bool = False) -> None:
        self.limit = limit
        self.patience, self._exact = patience, exact
        self._intervals: deque[_Interval] = deque()
        self._chunk = FIRST
        self._far_until = self._quiet_until = -math.inf
        self.needed = 0

    def take(self, now: float) -> float:
        """Use a place; returns 0, or the seconds until there is one, infinite when unknown."""
        self._forget_lapsed(now)
        if not self._intervals:
            return min(self.far(now), self._quiet_until - now) if self.far(now) else math.inf
        first = self._intervals[0]
        if first.due > now:
            return first.due - now
        first.used += 1
        if first.used == first.tokens:
            self._intervals.popleft()
            self._chunk = min(MOST, self._chunk * 2)
        return 0.0

    @property
    def next_due(self) -> float | None:
        """When the next held place may be used; None when none is held."""
        return self._intervals[0].due if self._intervals else None

    def far(self, now: float) -> float:
        """Seconds until the line has a place, when the last answer was that it is too far ahead."""
        return max(0.0, self._far_until - now) if now < self._quiet_until else 0.0

    def want(self, now: float) -> int:
        """How many places the line should be asked for now."""
        if self.far(now) > self.patience:
            return 0
        held_until = self._intervals[-1].end if self._intervals else now
        if held_until - now > LEAD:
            return 0
        held = sum(one.tokens - one.used for one in self._intervals)
        if self._exact:
            return max(0, self.needed - held)
        return self._chunk if 2 * held <= self._chunk else 0

    def granted(self, grant: Grant, now: float) -> None:
        """Take the answer in."""
        if grant.revision >= self.limit.revision:
            self.limit = replace(self.limit, rate=grant.rate, revision=grant.revision)
        if grant.tokens:
            step = 1 / grant.rate
            self._intervals.append(_Interval(now + grant.wait, step, grant.tokens, now))
        else:
            self._far_until = now + grant.wait
            self._quiet_until = now + min(QUIET, max(grant.wait - self.patience, 0))

    def empty(self, now: float) -> int:
        """Take out the places whose time is still to come, to give them back; returns how many."""
        back = 0
        while self._intervals:
            one = self._intervals.popleft()
            passed = math.ceil((now - one.start) / one.step)
            back += one.tokens - min(one.tokens, max(one.used, passed))
        return back

    @property
    def idle(self) -> bool:
        """Whether nothing is held and nobody waits."""
        return not self._intervals and not self.needed

    def _forget_lapsed(self, now: float) -> None:
        # Their time is over for everyone: they are not given back. A sender that cannot use what
        # it is given asks for less.
        while self._intervals and now > self._intervals[0].lapses:
            lapsed = self._intervals.popleft()
            self._chunk = max(1, lapsed.used)
