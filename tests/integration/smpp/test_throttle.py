"""An SMSC that is too slow for us: back-off, nothing lost, nobody charged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc_behaviour import Behaviour
from ignition_ext.values import FailureClass, OutcomeKind

Until = Callable[..., Awaitable[None]]


def many(count: int) -> list[tuple[str, str]]:
    """Recipients and texts, each different."""
    return [(f"+4915100{index:06d}", f"text {index}") for index in range(count)]


@pytest.mark.parametrize("status", [0x58, 0x14])
async def test_a_throttled_message_is_sent_again_in_place(bench: Any, status: int) -> None:
    """The journal hears of one attempt, an accepted one; the SMSC took it once."""
    bench.smsc.behaviour = lambda _: Behaviour(refuse_times=2, refuse_status=status)
    journal = await bench.deliver(many(10))

    assert journal.kinds == {OutcomeKind.ACCEPTED: 10}
    assert Counter(bench.smsc.messages) == Counter((to[1:], text) for to, text in many(10))


async def test_a_limit_by_the_second_is_lived_with(bench: Any) -> None:
    """60 messages at 40 a second from a window of 30: all accepted, once."""
    bench.smsc.per_second = 40
    journal = await bench.deliver(many(60), window=30, throttle_base=0.1)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 60}
    assert max(Counter(bench.smsc.messages).values()) == 1


async def test_patience_ends_without_a_charge(bench: Any) -> None:
    """A message that is throttled for too long goes back to the ledger, with a time to wait."""
    bench.smsc.behaviour = lambda _: Behaviour(status=0x58)
    journal = await bench.deliver(many(5), throttle_patience=0.1)

    assert journal.kinds == {OutcomeKind.DEFERRED: 5}
    for outcome in journal.outcomes:
        assert outcome.failure_class is FailureClass.THROTTLED
        assert not outcome.charges_attempt
        assert outcome.retry_after is not None


async def test_one_full_queue_does_not_hold_the_others(bench: Any) -> None:
    """0x14 may be one recipient's: a few tries, then the ledger waits."""
    bench.smsc.behaviour = lambda to: Behaviour(status=0x14 if to.endswith("3") else 0)
    journal = await bench.deliver(many(10), window=2)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 9, OutcomeKind.DEFERRED: 1}
    assert journal.outcomes[3].code == "0x00000014"
    assert not journal.outcomes[3].charges_attempt


async def test_a_throttled_part_behind_accepted_ones_is_kept(bench: Any) -> None:
    """The message arrives whole, no part twice."""
    statuses = iter([0, 0x58, 0x58, 0, 0])
    bench.smsc.behaviour = lambda _: Behaviour(status=next(statuses))
    journal = await bench.deliver([("+4915112345678", "a" * 400)], window=1)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert bench.smsc.messages == [("4915112345678", "a" * 400)]


async def test_a_stop_gives_throttled_messages_back(bench: Any, wait_until: Until) -> None:
    """They were never taken: deferred, not uncertain, and without waiting out the pause."""
    bench.smsc.behaviour = lambda _: Behaviour(status=0x58)
    task = asyncio.create_task(bench.deliver(many(50), window=5, throttle_base=30, throttle_max=30))
    await wait_until(lambda: [one[0] for one in bench.smsc.heard].count(4) >= 5)
    bench.stop.set()
    async with asyncio.timeout(20):
        journal = await task

    assert set(journal.kinds) <= {OutcomeKind.DEFERRED, OutcomeKind.UNSENT}
    assert bench.smsc.submits == []


TWO_PARTS = [("+4915112345678", "a" * 200)]


async def heard(raw: Any, wait_until: Until) -> None:
    """Return when what was said and done until now has arrived at the client."""
    number = 9000 + len(raw.link.heard)
    raw.link.transport.write(wire.pack(wire.ENQUIRE_LINK, 0, number))
    await wait_until(lambda: (wire.ENQUIRE_LINK | wire.RESPONSE, 0, number) in raw.link.heard)


@pytest.mark.parametrize("refused", [0, 1], ids=["first part", "second part"])
@pytest.mark.parametrize("is_stopped", [False, True], ids=["before the stop", "after it"])
async def test_a_stop_does_not_cut_a_text_in_half(
    bench: Any, raw: Any, wait_until: Until, refused: int, is_stopped: bool
) -> None:
    """One part is refused for now, the other unanswered: the drain time is there for both."""
    task = asyncio.create_task(bench.deliver(TWO_PARTS, port=raw.port))
    await wait_until(lambda: len(raw.taken) == 2)
    raw.answers_at_once = True
    sequences = list(raw.link.open)
    if is_stopped:
        bench.stop.set()
        await heard(raw, wait_until)
    raw.link.answer(sequences[refused], status=0x58)
    await heard(raw, wait_until)
    bench.stop.set()
    await heard(raw, wait_until)
    raw.link.answer(sequences[1 - refused])
    journal = await task

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert len(raw.taken) == 3


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one piece"])
async def test_a_text_that_was_not_begun_is_given_back_whole(
    bench: Any, raw: Any, wait_until: Until, together: bool
) -> None:
    """Both parts are refused for now after the stop: the SMSC has nothing of it."""
    task = asyncio.create_task(bench.deliver(TWO_PARTS, port=raw.port, throttle_base=2))
    await wait_until(lambda: len(raw.taken) == 2)
    bench.stop.set()
    await heard(raw, wait_until)
    for sequences in [list(raw.link.open)] if together else [[one] for one in raw.link.open]:
        raw.link.answer(*sequences, status=0x58)
        await heard(raw, wait_until)
    journal = await task

    assert journal.kinds == {OutcomeKind.DEFERRED: 1}
    assert len(raw.taken) == 2


async def test_the_rest_of_a_refused_text_does_not_go_alone(
    bench: Any, raw: Any, wait_until: Until
) -> None:
    """The first part was refused for now, the second not written yet: neither goes after a stop."""
    task = asyncio.create_task(bench.deliver(TWO_PARTS, port=raw.port, window=1, throttle_base=1))
    await wait_until(lambda: len(raw.taken) == 1)
    raw.link.answer(*raw.link.open, status=0x58)
    await heard(raw, wait_until)
    bench.stop.set()
    journal = await task

    assert journal.kinds == {OutcomeKind.DEFERRED: 1}
    assert len(raw.taken) == 1


async def test_the_rest_of_a_text_that_is_given_up_does_not_go_alone(
    bench: Any, raw: Any, wait_until: Until
) -> None:
    """A system error on the first part: the message waits in the ledger, and goes whole later."""
    task = asyncio.create_task(bench.deliver(TWO_PARTS, port=raw.port, window=1))
    await wait_until(lambda: len(raw.taken) == 1)
    raw.link.answer(*raw.link.open, status=0x08)
    async with asyncio.timeout(20):
        journal = await task

    assert journal.kinds == {OutcomeKind.DEFERRED: 1}
    assert journal.outcomes[0].code == "0x00000008"
    assert len(raw.taken) == 1


async def test_the_drain_time_ends_the_waiting_for_half_a_text(
    bench: Any, raw: Any, wait_until: Until
) -> None:
    """The part that was accepted is not sent again: uncertain, with the other part's words."""
    task = asyncio.create_task(
        bench.deliver(TWO_PARTS, port=raw.port, throttle_base=30, drain_timeout=0.3)
    )
    await wait_until(lambda: len(raw.taken) == 2)
    first, second = raw.link.open
    raw.link.answer(second, status=0x58)
    await heard(raw, wait_until)
    bench.stop.set()
    raw.link.answer(first)
    async with asyncio.timeout(20):
        journal = await task

    assert journal.kinds == {OutcomeKind.UNCERTAIN: 1}
    assert journal.outcomes[0].code == "0x00000058"
    assert len(raw.taken) == 2
