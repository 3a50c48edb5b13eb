"""A full window and what may happen to it; the raw SMSC counts what it was given."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.values import Delivery, MessageId, MessageState, OutcomeKind

Until = Callable[..., Awaitable[None]]
WINDOW = 20


def many(count: int) -> list[tuple[str, str]]:
    """Recipients and texts, each different."""
    return [(f"+4915100{index:06d}", f"text {index}") for index in range(count)]


def send(bench: Any, raw: Any, count: int, **changes: Any) -> asyncio.Task[Any]:
    """A delivery to the raw SMSC that nothing but the test hurries."""
    values: dict[str, Any] = {"window": WINDOW, "response_timeout": 600.0, "enquire_link": 600.0}
    return asyncio.create_task(bench.deliver(many(count), port=raw.port, **(values | changes)))


def check_against_the_far_side(bench: Any, raw: Any, count: int) -> None:
    """Each message was taken once, and told as accepted or uncertain."""
    assert Counter(raw.taken) == Counter(to[1:] for to, _ in many(count))
    kinds = bench.journal.kinds
    assert kinds[OutcomeKind.ACCEPTED] + kinds[OutcomeKind.UNCERTAIN] == count
    assert bench.journal.most_open <= WINDOW


LOSSES: dict[str, Callable[[Any], None]] = {
    "cut": lambda link: link.transport.abort(),
    "closed": lambda link: link.transport.close(),
    "unbind": lambda link: link.transport.write(wire.pack(wire.UNBIND, 0, 7)),
    "4 GiB": lambda link: link.transport.write(b"\xff" * 16),
    "nack of nothing": lambda link: link.transport.write(wire.pack(wire.GENERIC_NACK, 2, 0)),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES.keys())
async def test_a_link_lost_with_a_full_window(
    bench: Any, raw: Any, wait_until: Until, lose: Callable[[Any], None]
) -> None:
    """What is unanswered is uncertain, that and no more; the rest goes over the next bind."""
    task = send(bench, raw, 100)
    await wait_until(lambda: len(raw.taken) == WINDOW)
    answered = list(raw.link.open)[:7]
    raw.link.answer(*answered)
    await wait_until(lambda: len(raw.taken) == WINDOW + 7)
    unanswered = set(raw.link.open.values())
    raw.answers_at_once = True
    lose(raw.links[0])
    await task

    uncertain = {
        to[1:]
        for (to, _), outcome in zip(many(100), bench.journal.outcomes, strict=True)
        if outcome.kind is OutcomeKind.UNCERTAIN
    }
    assert uncertain == unanswered
    assert len(uncertain) == WINDOW
    assert len(raw.links) == 2
    check_against_the_far_side(bench, raw, 100)


async def test_answers_before_a_broken_length_count(
    bench: Any, raw: Any, wait_until: Until
) -> None:
    """They stand in the same piece as the nonsense behind them."""
    task = send(bench, raw, WINDOW)
    await wait_until(lambda: len(raw.taken) == WINDOW)
    link = raw.link
    octets = b"".join(link.response(one) for one in list(link.open)[:15])
    link.transport.write(octets + b"\xff" * 16)
    await task

    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 15, OutcomeKind.UNCERTAIN: 5}
    check_against_the_far_side(bench, raw, WINDOW)


async def test_answers_in_any_order_and_any_pieces(bench: Any, raw: Any, wait_until: Until) -> None:
    """Each message gets its own id, also when halves of PDUs are apart."""
    chance = random.Random(20261121)
    task = send(bench, raw, 200)
    for taken in range(WINDOW, 201, WINDOW):
        await wait_until(partial(lambda count: len(raw.taken) == count, taken))
        sequences = list(raw.link.open)
        chance.shuffle(sequences)
        octets = b"".join(raw.link.response(one) for one in sequences)
        while octets:
            size = chance.randint(1, len(octets))
            raw.link.transport.write(octets[:size])
            octets = octets[size:]
            await asyncio.sleep(0)
    await task

    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 200}
    for (to, _), outcome in zip(many(200), bench.journal.outcomes, strict=True):
        assert outcome.provider_id == to[1:]
    check_against_the_far_side(bench, raw, 200)


async def test_half_an_answer_and_a_pause(
    bench: Any, raw: Any, clock: Any, wait_until: Until
) -> None:
    """However long the pause: the probe in between does not disturb the stream."""
    task = send(bench, raw, 2, enquire_link=10.0, response_timeout=1e9, window=2)
    await wait_until(lambda: len(raw.taken) == 2)
    link = raw.link
    link.ignored = {wire.ENQUIRE_LINK}  # its answer would stand in the middle of the other
    first, second = (link.response(one) for one in list(link.open))
    link.transport.write(first[:9])
    while wire.ENQUIRE_LINK not in [one[0] for one in link.heard]:
        await clock.advance(11)  # silence counts from when the half arrived
    link.transport.write(first[9:] + second)
    await task

    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 2}
    assert len(raw.links) == 1


async def test_no_answer_in_time_is_uncertain_and_the_rest_goes_on(
    bench: Any, raw: Any, clock: Any, wait_until: Until
) -> None:
    """A window of which half is never answered goes on with the other half, then with all."""
    task = send(bench, raw, 60)
    await wait_until(lambda: len(raw.taken) == WINDOW)
    silent = set(list(raw.link.open)[::2])
    raw.link.answer(*set(raw.link.open) - silent)
    await wait_until(lambda: len(raw.taken) == WINDOW + 10)
    raw.link.answer(*set(raw.link.open) - silent)
    raw.answers_at_once = True
    await wait_until(lambda: len(bench.journal.deliveries) == 50)
    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 50}
    await clock.advance(601)
    await task

    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 50, OutcomeKind.UNCERTAIN: 10}
    assert "600 s" in next(
        one.text for one in bench.journal.outcomes if one.kind is OutcomeKind.UNCERTAIN
    )
    assert len(raw.links) == 1
    check_against_the_far_side(bench, raw, 60)


async def test_a_late_answer_is_not_taken_for_another_one(
    bench: Any, raw: Any, clock: Any, wait_until: Until
) -> None:
    """The message is settled once; its sequence number stays its own."""
    task = send(bench, raw, 30, window=3)
    await wait_until(lambda: len(raw.taken) == 3)
    link = raw.link
    late = [link.response(one) for one in list(link.open)[:2]]
    link.answer(*link.open)
    await wait_until(lambda: len(raw.taken) == 4)
    await clock.advance(300)
    link.answer(*link.open)
    await wait_until(lambda: len(raw.taken) == 5)
    await clock.advance(301)
    await wait_until(lambda: len(raw.taken) == 7)
    link.transport.write(b"".join(late))
    raw.relent()
    await task

    kinds = [one.kind for one in bench.journal.outcomes]
    assert kinds == [OutcomeKind.UNCERTAIN] * 2 + [OutcomeKind.ACCEPTED] * 28
    for (to, _), outcome in list(zip(many(30), bench.journal.outcomes, strict=True))[2:]:
        assert outcome.provider_id == to[1:]
    assert len(raw.links) == 1
    check_against_the_far_side(bench, raw, 30)


async def test_receipts_before_the_answers_end_the_waiting(
    bench: Any, raw: Any, wait_until: Until
) -> None:
    """A window of receipts comes first, then the answers: nothing more is awaited."""
    task = send(bench, raw, WINDOW, linger=600)
    await wait_until(lambda: len(raw.taken) == WINDOW)
    octets = b""
    for number, to in enumerate(raw.link.open.values(), start=1):
        text = f"id:{to} stat:DELIVRD err:000 text:".encode()
        body = b"\0\1\1" + wire.string(to) + b"\5\0Acme\0" + b"\4" + b"\0" * 8
        octets += wire.pack(wire.DELIVER_SM, 0, number, body + bytes((len(text),)) + text)
    raw.link.transport.write(octets)
    await wait_until(lambda: len(bench.receipts) == WINDOW)
    raw.relent()
    async with asyncio.timeout(60):
        await task

    acknowledged = [one for one in raw.link.heard if one[0] == wire.DELIVER_SM | wire.RESPONSE]
    assert sorted(acknowledged) == [(0x80000005, 0, n) for n in range(1, WINDOW + 1)]
    assert {one.state for one in bench.receipts} == {MessageState.DELIVERED}
    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: WINDOW}


async def test_throttled_for_a_while(bench: Any, raw: Any, wait_until: Until) -> None:
    """Four full rounds of 0x58, then the SMSC is content: each message is accepted once."""
    task = send(bench, raw, 60, throttle_max=0.02)
    refused = 0
    while refused < 4 * WINDOW:
        await wait_until(lambda: bool(raw.links and raw.link.open))
        refused += len(raw.link.open)
        raw.link.answer(*raw.link.open, status=0x58)
    raw.relent()
    await task

    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 60}
    assert len(raw.taken) == 60 + refused
    assert bench.journal.most_open <= WINDOW


# ------------------------------------------------------------------ turns


class SlowJournal:
    """A journal whose turns are stored when the test says so, in the order it says."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.turns: list[tuple[int, int, asyncio.Event]] = []

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Wait for the test, then store."""
        gate = asyncio.Event()
        self.turns.append((len(deliveries), len(ids), gate))
        await gate.wait()
        allowed: frozenset[MessageId] = await self._inner.turn(deliveries, ids)
        return allowed

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Not what a transport at full speed calls."""
        raise AssertionError

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Not what a transport at full speed calls."""
        raise AssertionError


async def test_turns_overlap_with_answers_and_each_other(
    bench: Any, raw: Any, wait_until: Until
) -> None:
    """While one turn is being stored, a fourth of the window is worth another: nothing stops."""
    inner = bench.journal
    journal = bench.journal = SlowJournal(inner)
    inner_check, journal.check_complete = inner.check_complete, inner.check_complete
    task = send(bench, raw, 100)
    await wait_until(lambda: len(journal.turns) == 1)
    first_intents = journal.turns[0][1]
    for _ in range(2):  # the first messages come in as many turns as it takes to read them
        journal.turns[-1][2].set()
        await wait_until(lambda: len(raw.taken) == sum(ids for _, ids, _ in journal.turns))
    await wait_until(lambda: len(raw.taken) == WINDOW)
    begun = len(journal.turns)

    raw.link.answer(*list(raw.link.open)[:3])
    await wait_until(lambda: len(journal.turns) == begun + 1)
    raw.link.answer(*list(raw.link.open)[:4])  # too few to be worth a transaction
    raw.link.answer(*list(raw.link.open)[:1])
    await wait_until(lambda: len(journal.turns) == begun + 2)
    assert [turn[:2] for turn in journal.turns[begun:]] == [(3, 3), (5, 5)]

    journal.turns[begun + 1][2].set()
    await wait_until(lambda: len(raw.taken) == WINDOW + 5)
    assert len(raw.link.open) == WINDOW - 3
    journal.turns[begun][2].set()
    await wait_until(lambda: len(raw.taken) == WINDOW + 8)
    assert len(raw.link.open) == WINDOW

    raw.relent()
    while not task.done():
        for _, _, gate in journal.turns:
            gate.set()
        await asyncio.sleep(0)
    inner_check()
    assert first_intents <= WINDOW
    assert inner.kinds == {OutcomeKind.ACCEPTED: 100}
    assert inner.most_open <= WINDOW


@pytest.mark.timeout(60)
@pytest.mark.parametrize("step", [0.0003, 0.002, 0.0049, 0.005, 0.0051, 0.02])
async def test_a_token_that_comes_between_two_looks_is_not_slept_over(
    bench: Any, raw: Any, clock: Any, step: float
) -> None:
    """Each look at the clock finds it later, by a part of a token's time, by all, or by more."""
    raw.answers_at_once = True
    clock.step = step
    patience = dict.fromkeys(("connect_timeout", "response_timeout", "enquire_link"), 1e9)
    await bench.deliver(many(150), port=raw.port, rate=200.0, window=5, **patience)
    clock.step = 0

    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 150}
