"""How often one link may be used: whoever replays a link must not keep the database busy.

Only what comes with a link of ours ever gets to the database, so the limit is a link's. A limit
for each sender of requests would meet mailbox providers, which come for millions from few hosts.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

MOST_KEYS = 20_000
"""Links that are remembered in a process, 4 MB; the one not used for longest is forgotten first."""


class Limits:
    """A bucket for each key: full at first, refilled steadily.

    Args:
        burst: uses at once.
        per_second: uses that come back each second.
        clock: seconds, never backwards.
    """

    def __init__(
        self, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def allows(self, key: Hashable) -> bool:
        """Whether the key may be used now; if so, that is one use."""
        now = self._clock()
        left, then = self._buckets.pop(key, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._per_second)
        is_allowed = left >= 1
        self._buckets[key] = (left - 1 if is_allowed else left, now)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        return is_allowed

    @property
    def retry_after(self) -> int:
        """Whole seconds until a key that was refused may be used again."""
        return max(1, round(1 / self._per_second))
