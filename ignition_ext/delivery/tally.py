"""How a run stands, known without counting all its messages each time anybody asks.

Between two exact counts the batch's own results are added to the last one. What other senders do
meanwhile shows at the next exact count, which comes often while counting is cheap.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from ignition_ext.ledger.contract import Ledger
from ignition_ext.values import OPEN_STATES, MessageState, RunRef

COUNT_EVERY_SECONDS = 5.0
"""A person who watches wants no more; other senders' work is shown this late."""
TELL_EVERY_SECONDS = 0.1
"""Results come hundreds of times a second; nobody looks as often."""
COUNT_SHARE = 0.03
"""Of the time at most: counting a million messages takes long, and is then done more rarely."""
SOURCES = (
    MessageState.CLAIMED,
    MessageState.SENDING,
    MessageState.PENDING,
    MessageState.DEFERRED,
)
"""Where a settled message was counted before, the likeliest first."""


class Progressing(Protocol):
    """A batch under way."""

    @property
    def settled(self) -> Counter[MessageState]:
        """Messages that it has settled, by their new state."""
        ...


class Tally:
    """The messages of one run by state; belongs to one sender.

    Args:
        on_progress: told the counts while results come in, and at the end of a batch.

    Attributes:
        counts: as last known; every state is present once a batch has begun.
    """

    def __init__(
        self, on_progress: Callable[[Mapping[MessageState, int]], None] | None = None
    ) -> None:
        self.counts: Counter[MessageState] = Counter()
        self._on_progress = on_progress
        self._base: Counter[MessageState] = Counter()
        self._seen: Counter[MessageState] = Counter()
        self._batch: Progressing | None = None
        self._count_at = self._told_at = 0.0

    async def begin(self, ledger: Ledger, run: RunRef, batch: Progressing) -> None:
        """A batch has claimed its first messages."""
        self._batch, self._seen = batch, Counter()
        if time.monotonic() >= self._count_at:
            await self._count(ledger, run)

    def tell(self) -> None:
        """Something was settled."""
        now = time.monotonic()
        if self._batch is None or now - self._told_at < TELL_EVERY_SECONDS:
            return
        self._told_at = now
        self.counts = moved(self._base, self._batch.settled - self._seen)
        if self._on_progress is not None:
            self._on_progress(self.counts)

    async def end(
        self, ledger: Ledger, run: RunRef, batch: Progressing, *, exact: bool
    ) -> Mapping[MessageState, int]:
        """The batch is over: the counts, exact where it matters or where it has been a while."""
        self._batch = batch
        estimate = moved(self._base, batch.settled - self._seen)
        over = not any(estimate[state] for state in OPEN_STATES)
        if exact or over or time.monotonic() >= self._count_at:
            await self._count(ledger, run)
        else:
            self.counts = self._base = estimate
        self._seen = Counter()
        if self._on_progress is not None:
            self._on_progress(self.counts)
        return self.counts

    async def _count(self, ledger: Ledger, run: RunRef) -> None:
        began = time.monotonic()
        self.counts = self._base = Counter(await ledger.counts(run))
        now = time.monotonic()
        self._count_at = now + max(COUNT_EVERY_SECONDS, (now - began) / COUNT_SHARE)
        self._seen = Counter() if self._batch is None else Counter(self._batch.settled)


def moved(
    counts: Mapping[MessageState, int], settled: Counter[MessageState]
) -> Counter[MessageState]:
    """How a run stands after so many more were settled, the others' work left out.

    A message that went back to pending has not moved.
    """
    now = Counter(counts)
    for state, count in settled.items():
        if state is MessageState.PENDING:
            continue
        now[state] += count
        for source in SOURCES:
            taken = min(count, now[source])
            now[source] -= taken
            count -= taken
    return now
