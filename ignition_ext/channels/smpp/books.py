"""One bind's books: which messages are intended, which are answered, which are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ignition_ext.channels.smpp.message import SmsInFlight
from ignition_ext.channels.transport import Journal
from ignition_ext.values import Delivery

MOST = 64
"""Messages of each kind in one turn. In a larger window all would go out together, be answered
together and be stored together, and the database, the wire and we wait for each other in turn."""
_QUORUM = 4
"""While a turn is being stored, a fourth of the window is worth another one. Smaller ones would
cost a transaction for a message or two, larger ones would leave the window empty meanwhile."""


class Books:
    """Settles what is answered and intends what has room, in as few turns as keep the window full.

    A turn swaps messages: it intends as many as it settles, and as many more as the window has
    room for. A swap leaves the number of messages that are intended and not stored as settled as
    it was, in whatever order turns are stored, so several may be under way and the bound of one
    window still holds at each moment.

    Args:
        window: how many messages may be intended and not stored as settled.
        journal: where it is written.
        admitted: is told which messages may go, once their intent is stored.

    Attributes:
        coming: messages whose intent is being stored.
        error: why nothing can be stored any more.
    """

    def __init__(
        self, window: int, journal: Journal, admitted: Callable[[Sequence[SmsInFlight]], None]
    ) -> None:
        self._window, self._journal, self._admitted = window, journal, admitted
        self._finished: list[Delivery] = []
        self._level = 0
        self._turns: set[asyncio.Task[None]] = set()
        self.coming = 0
        self.error: BaseException | None = None

    def finish(self, delivery: Delivery) -> None:
        """A message has its outcome."""
        self._finished.append(delivery)

    @property
    def room(self) -> int:
        """How many messages the next turn may intend."""
        return min(MOST, self._window - self._level + min(MOST, len(self._finished)))

    @property
    def is_clear(self) -> bool:
        """Whether everything is stored, or nothing can be."""
        return self.error is not None or not (self._finished or self._turns)

    def wants_turn(self, intents: int) -> bool:
        """Whether a turn is due that could intend so many messages."""
        size = max(len(self._finished), intents)
        if not size or self.error is not None:
            return False
        return not self._turns or size * _QUORUM >= self._window

    def turn(self, messages: Sequence[SmsInFlight]) -> None:
        """Begin to settle what is finished and to intend ``messages``, at most ``room``."""
        deliveries, self._finished = self._finished[:MOST], self._finished[MOST:]
        growth = max(0, len(messages) - len(deliveries))
        self._level += growth
        self.coming += len(messages)
        self._turns.add(asyncio.create_task(self._store(deliveries, messages, growth)))

    async def _store(
        self, deliveries: Sequence[Delivery], messages: Sequence[SmsInFlight], growth: int
    ) -> None:
        granted: Sequence[SmsInFlight] = ()
        try:
            allowed = await self._journal.turn(deliveries, [one.message_id for one in messages])
            granted = [one for one in messages if one.message_id in allowed]
            self._level += len(granted) - len(deliveries) - growth
        except BaseException as error:
            # Nothing can be written down any more, so nothing more may be sent.
            self.error = self.error or error
        self.coming -= len(messages)
        self._turns.discard(_this_task())
        self._admitted(granted)


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task
