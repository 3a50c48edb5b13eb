"""An SMSC that is too slow for us: back-off, nothing lost, nobody charged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

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
