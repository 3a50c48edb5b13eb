"""The journal groups what many tasks report, in order, and tells every one of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.errors import DatabaseError
from ignition_ext.ledger import journal as journal_module
from ignition_ext.ledger.journal import LedgerJournal
from ignition_ext.values import Delivery, MessageId, MessageState, Outcome, OutcomeKind

ADDRESSES = [f"u{number}@example.com" for number in range(60)]
ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, code="250")
THROTTLED = Outcome(kind=OutcomeKind.UNSENT)


class Watched:
    """The real ledger, with a count of its calls and a gate in front of them."""

    def __init__(self, ledger: Any) -> None:
        self.ledger, self.calls = ledger, []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.errors: list[Exception] = []
        self.answers_are_lost = False
        self.just_before_the_answer: Callable[[], Any] | None = None

    async def turn(
        self, run: Any, lease: Any, deliveries: Any, ids: Any, retry: Any, **rest: Any
    ) -> Any:
        await self._pass(len(deliveries), len(ids))
        answer = await self.ledger.turn(run, lease, deliveries, ids, retry, **rest)
        if self.just_before_the_answer is not None:
            asyncio.get_running_loop().call_soon(self.just_before_the_answer)
        if self.answers_are_lost:
            raise DatabaseError("the link broke", mend="wait")
        return answer

    async def settle(self, run: Any, lease: Any, deliveries: Any, retry: Any, **rest: Any) -> Any:
        await self._pass(len(deliveries), 0)
        return await self.ledger.settle(run, lease, deliveries, retry, **rest)

    async def _pass(self, results: int, intents: int) -> None:
        self.calls.append((results, intents))
        await self.gate.wait()
        if self.error:
            raise self.error
        if self.errors:
            raise self.errors.pop()


def done(message: MessageId, outcome: Outcome = ACCEPTED) -> Delivery:
    return Delivery(message_id=message, outcome=outcome)


@pytest.fixture
async def open_journal(scene: Any) -> Any:
    run = await scene.run(*ADDRESSES)
    lease = await scene.ledger.claim(run, limit=100, lease=timedelta(minutes=1))
    watched = Watched(scene.ledger)
    made = LedgerJournal(watched, run, lease.id, scene.retry)  # type: ignore[arg-type]
    return made, watched, [message.id for message in lease.messages], run


async def turn() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_concurrent_callers_share_a_call(scene: Any, open_journal: Any) -> None:
    """Who comes in one moment, or while a call is under way, goes together."""
    journal, watched, ids, run = open_journal

    async def send(message: MessageId) -> None:
        assert await journal.intend([message]) == {message}
        await journal.settle([done(message)])

    await asyncio.gather(*(send(message) for message in ids))

    assert sum(sum(call) for call in watched.calls) == 2 * len(ids)
    assert len(watched.calls) < 15
    assert journal.settled == {MessageState.SENT: len(ids)}
    assert (await scene.ledger.counts(run))[MessageState.SENT] == len(ids)


async def test_a_failure_reaches_every_waiting_caller(open_journal: Any) -> None:
    """Each of the group is told; the next call works again."""
    journal, watched, ids, _ = open_journal
    watched.gate.clear()
    watched.error = RuntimeError("disk full")
    callers = [asyncio.create_task(journal.intend([message])) for message in ids[:5]]
    await turn()
    watched.gate.set()

    results = await asyncio.gather(*callers, return_exceptions=True)

    assert [str(result) for result in results] == ["disk full"] * 5
    watched.error = None
    assert await journal.intend(ids[:2]) == set(ids[:2])


async def test_results_are_stored_when_the_database_is_back(
    scene: Any, open_journal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that only this process knows survives a failover; an intent is not repeated."""
    journal, watched, ids, run = open_journal
    monkeypatch.setattr(journal_module, "PAUSES", (0, 0, 0))
    await journal.intend(ids[:1])
    watched.errors = [DatabaseError("away", mend="wait")] * 2

    assert await journal.turn([done(ids[0])], ids[1:2]) == frozenset()

    counts = await scene.ledger.counts(run)
    assert (counts[MessageState.SENT], counts[MessageState.SENDING]) == (1, 0)
    watched.errors = [DatabaseError("away", mend="wait")] * 4
    with pytest.raises(DatabaseError):
        await journal.settle([done(ids[2])])


async def test_an_intent_whose_answer_was_lost_is_taken_back(
    scene: Any, open_journal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored, nobody was told, and nothing of it is left on the wire."""
    journal, watched, ids, run = open_journal
    monkeypatch.setattr(journal_module, "PAUSES", (0,))
    watched.answers_are_lost = True

    assert await journal.intend(ids[:2]) == frozenset()

    counts = await scene.ledger.counts(run)
    assert (counts[MessageState.PENDING], counts[MessageState.SENDING]) == (2, 0)


async def test_a_turn_is_one_call(scene: Any, open_journal: Any) -> None:
    """Results and intents of several connections go together."""
    journal, watched, ids, run = open_journal
    await journal.intend(ids[:10])
    watched.calls.clear()

    granted = await asyncio.gather(
        *(journal.turn([done(ids[place])], [ids[place + 10]]) for place in range(10))
    )

    assert [set(one) for one in granted] == [{key} for key in ids[10:20]]
    assert watched.calls == [(10, 10)]
    counts = await scene.ledger.counts(run)
    assert (counts[MessageState.SENT], counts[MessageState.SENDING]) == (10, 10)


async def test_a_cancelled_intent_is_not_left_on_the_wire(scene: Any, open_journal: Any) -> None:
    """Cancelled while waiting: never intended. Cancelled while stored: returned as unsent."""
    journal, watched, ids, run = open_journal
    watched.gate.clear()
    stored = asyncio.create_task(journal.intend(ids[:1]))
    await turn()
    waiting = asyncio.create_task(journal.intend(ids[1:2]))
    await turn()
    stored.cancel()
    waiting.cancel()
    await asyncio.gather(stored, waiting, return_exceptions=True)
    watched.gate.set()

    await journal.drain()

    counts = await scene.ledger.counts(run)
    assert counts[MessageState.SENDING] == 0
    assert counts[MessageState.PENDING] == 1
    assert counts[MessageState.CLAIMED] == len(ids) - 1


async def test_a_grant_that_nobody_hears_is_taken_back(scene: Any, open_journal: Any) -> None:
    """Cancelled between the storing and the waking: the message is not left on the wire."""
    journal, watched, ids, run = open_journal
    task = asyncio.create_task(journal.intend(ids[:1]))
    watched.just_before_the_answer = task.cancel

    with pytest.raises(asyncio.CancelledError):
        await task

    await journal.drain()
    counts = await scene.ledger.counts(run)
    assert (counts[MessageState.PENDING], counts[MessageState.SENDING]) == (1, 0)


async def test_a_result_is_stored_though_its_caller_was_stopped(
    scene: Any, open_journal: Any
) -> None:
    """What a server said is never thrown away."""
    journal, watched, ids, run = open_journal
    await journal.intend(ids[:1])
    watched.gate.clear()
    task = asyncio.create_task(journal.settle([done(ids[0])]))
    await turn()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    watched.gate.set()

    await journal.drain()

    assert (await scene.ledger.counts(run))[MessageState.SENT] == 1


async def test_a_message_stands_once_in_a_call(scene: Any, open_journal: Any) -> None:
    """Two results of one message are stored in their order, in two calls."""
    journal, watched, ids, _ = open_journal
    await journal.intend(ids[:1])
    watched.gate.clear()
    blocker = asyncio.create_task(journal.intend(ids[1:2]))
    await turn()
    tasks = [
        asyncio.create_task(journal.settle([done(ids[0], outcome)]))
        for outcome in (THROTTLED, ACCEPTED)
    ]
    await turn()
    watched.gate.set()
    await asyncio.gather(blocker, *tasks)

    assert [call for call in watched.calls if call[0]] == [(1, 0)] * 2
    assert journal.settled == {MessageState.PENDING: 1, MessageState.SENT: 1}


async def test_callers_are_held_back_when_too_much_waits(
    open_journal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is bounded: who comes above it waits outside, and gets in later."""
    monkeypatch.setattr(journal_module, "MAX_WAITING", 5)
    journal, watched, ids, _ = open_journal
    watched.gate.clear()
    callers = [asyncio.create_task(journal.intend([message])) for message in ids[:20]]
    await turn()
    assert journal._waiting == 5

    watched.gate.set()
    granted = await asyncio.gather(*callers)

    assert set().union(*granted) == set(ids[:20])
    assert max(size for _, size in watched.calls) <= 5
    assert await journal.intend([]) == frozenset()
    await journal.settle([])
