"""The parts of one bind that wait to be written: new ones in order, and those to be tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from ignition_ext.channels.smpp.message import Part
from ignition_ext.values import Outcome


@dataclass(slots=True)
class _Again:
    """A part to be tried again, not before ``due``, in the order of the messages."""

    due: float
    part: Part
    outcome: Outcome

    def __lt__(self, other: _Again) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[float, int, int]:
        return self.due, self.part.message.order, self.part.index


class Backlog:
    """Intended parts that are not on the wire; ``now`` and ``due`` are monotonic seconds."""

    def __init__(self) -> None:
        self._fresh: deque[Part] = deque()
        self._again: list[_Again] = []

    def __len__(self) -> int:
        return len(self._fresh) + len(self._again)

    @property
    def fresh(self) -> int:
        """How many of them were not refused before."""
        return len(self._fresh)

    def add(self, parts: Iterable[Part]) -> None:
        """Queue new parts."""
        self._fresh.extend(parts)

    def put_back(self, part: Part) -> None:
        """Queue a part that was written to no effect, before all others."""
        self._fresh.appendleft(part)

    def try_again(self, part: Part, outcome: Outcome, due: float) -> None:
        """Queue a part that was refused for now; ``outcome`` is what it gets if it never goes."""
        part.tries += 1
        heappush(self._again, _Again(due, part, outcome))

    def ready(self, now: float) -> Iterator[Part]:
        """Take out parts that may be written now, refused ones first, until the caller stops."""
        while True:
            if self._again and self._again[0].due <= now:
                yield heappop(self._again).part
            elif self._fresh:
                yield self._fresh.popleft()
            else:
                return

    def wait(self, now: float) -> float | None:
        """Seconds until a part may be written, 0 when one may be now, None when none waits."""
        if self._fresh:
            return 0.0
        return max(0.0, self._again[0].due - now) if self._again else None

    def clear(self, *, begun: bool) -> list[tuple[Part, Outcome | None]]:
        """Take out parts that are given up, with the refusal of those that had one.

        Without ``begun`` those of messages stay that cannot be taken back any more: the SMSC has,
        or may have, another part.
        """
        fresh, again = self._fresh, self._again
        gone: list[tuple[Part, Outcome | None]] = [
            (part, None) for part in fresh if begun or not part.message.handed
        ]
        gone += [(one.part, one.outcome) for one in again if begun or not one.part.message.handed]
        self._fresh = deque(part for part in fresh if not begun and part.message.handed)
        self._again = [one for one in again if not begun and one.part.message.handed]
        heapify(self._again)
        return gone
