"""Whatever order turns are stored in, the store never holds more than a window."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smpp.books import Books
from ignition_ext.channels.smpp.message import SmsInFlight
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind, new_id

DONE = Outcome(kind=OutcomeKind.ACCEPTED)


class Store:
    """Holds the calls until it is told which to store; counts what is intended and not settled."""

    def __init__(self, window: int) -> None:
        self.waiting: list[tuple[Sequence[Delivery], Sequence[MessageId], asyncio.Future[None]]]
        self.waiting = []
        self._window = window
        self.sending: set[MessageId] = set()
        self.settled: list[MessageId] = []
        self.refused: set[MessageId] = set()

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Wait to be stored."""
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((deliveries, ids, gate))
        await gate
        return frozenset(ids) - self.refused

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Never called."""
        raise AssertionError

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Never called."""
        raise AssertionError

    def store(self, which: int) -> None:
        """Store one of the calls, whole."""
        deliveries, ids, gate = self.waiting.pop(which)
        for delivery in deliveries:
            self.sending.remove(delivery.message_id)
            self.settled.append(delivery.message_id)
        self.sending.update(frozenset(ids) - self.refused)
        assert len(self.sending) <= self._window, "more than a window may be uncertain"
        gate.set_result(None)


async def turns_run() -> None:
    """Let tasks that can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


class Game:
    """Books that are played with: one step at a time, each as it is possible."""

    def __init__(self, window: int, refuse_every: int) -> None:
        self.store, self.open = Store(window), list[SmsInFlight]()
        self.books = Books(window, self.store, self.open.extend)
        self.intended: list[MessageId] = []
        self._refuse_every = refuse_every

    async def step(self, kind: str, which: int) -> None:
        """Begin a turn, finish a message or store a turn; ``which`` chooses one."""
        if kind == "begin":
            room = min(which, self.books.room)
            if self.books.wants_turn(room):
                self._begin(room)
        elif kind == "finish" and self.open:
            message = self.open.pop(which % len(self.open))
            self.books.finish(message.delivery())
        elif kind == "store" and self.store.waiting:
            self.store.store(which % len(self.store.waiting))
        await turns_run()

    def _begin(self, count: int) -> None:
        messages = [SmsInFlight(MessageId(new_id()), DONE) for _ in range(count)]
        for message in messages:
            self.intended.append(message.message_id)
            if len(self.intended) % self._refuse_every == 0:
                self.store.refused.add(message.message_id)
        self.books.turn(messages)


steps = st.lists(
    st.tuples(st.sampled_from(["begin", "finish", "finish", "store"]), st.integers(0, 9)),
    max_size=80,
)


@given(st.integers(1, 9), st.integers(2, 9), steps)
def test_never_more_than_a_window_is_intended_and_unsettled(
    window: int, refuse_every: int, played: list[tuple[str, int]]
) -> None:
    """Checked at the store, after each call that it stores; nothing is settled twice or lost."""

    async def play() -> Game:
        game = Game(window, refuse_every)
        for kind, which in played:
            await game.step(kind, which)
        while game.open or not game.books.is_clear:
            for kind in ("store", "finish", "begin"):
                await game.step(kind, 0)
        return game

    game = asyncio.run(play())
    assert not game.store.sending
    assert set(game.store.settled) == set(game.intended) - game.store.refused
    assert len(game.store.settled) == len(set(game.store.settled))
    assert game.books.room == window
    assert game.books.coming == 0


async def test_small_turns_wait_for_the_one_under_way() -> None:
    """One that is worth a fourth of the window does not; alone, any is begun."""
    store, open_ = Store(8), list[SmsInFlight]()
    books = Books(8, store, open_.extend)
    books.turn([SmsInFlight(MessageId(new_id()), DONE) for _ in range(8)])
    await turns_run()
    store.store(0)
    await turns_run()
    books.finish(open_.pop().delivery())
    assert books.wants_turn(0)
    books.turn([])
    books.finish(open_.pop().delivery())
    assert not books.wants_turn(1)
    books.finish(open_.pop().delivery())
    assert books.wants_turn(0)

    await turns_run()
    store.store(0)


async def test_what_cannot_be_stored_is_the_end() -> None:
    """Nothing is begun any more, and who waits is told."""
    told = []

    class Broken(Store):
        async def turn(
            self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
        ) -> frozenset[MessageId]:
            raise OSError("the database is away")

    books = Books(5, Broken(5), told.append)
    books.turn([SmsInFlight(MessageId(new_id()), DONE)])
    await turns_run()

    assert told == [()]
    assert isinstance(books.error, OSError)
    assert books.is_clear
    assert not books.wants_turn(5)
    with pytest.raises(OSError, match="away"):
        raise books.error
