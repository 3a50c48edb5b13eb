"""An SMSC that fails at each step; the simulator counts what it really took."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc_behaviour import Behaviour
from ignition_ext.errors import ConnectFailed, ProtocolViolation
from ignition_ext.values import FailureClass, OutcomeKind

Until = Callable[..., Awaitable[None]]
ONE = [("+4915112345678", "Hi")]


def many(count: int) -> list[tuple[str, str]]:
    """Recipients and texts, each different."""
    return [(f"+4915100{index:06d}", f"text {index}") for index in range(count)]


def check_against_the_far_side(bench: Any) -> None:
    """Accepted arrived once, unsent and deferred never; nothing arrived twice."""
    taken = Counter(bench.smsc.messages)
    assert all(count == 1 for count in taken.values()), "sent twice"
    kinds = bench.journal.kinds
    assert kinds[OutcomeKind.ACCEPTED] <= len(taken)
    assert len(taken) <= kinds[OutcomeKind.ACCEPTED] + kinds[OutcomeKind.UNCERTAIN]


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_link_lost_before_the_answer_is_uncertain(bench: Any, drop: Any) -> None:
    """From here nobody can tell the two apart, so neither is sent again."""
    bench.smsc.behaviour = lambda to: Behaviour(drop=drop if to.endswith("25") else "")
    journal = await bench.deliver(many(50), window=10)

    assert journal.kinds[OutcomeKind.UNCERTAIN] in range(1, 11)
    assert journal.kinds[OutcomeKind.ACCEPTED] == 50 - journal.kinds[OutcomeKind.UNCERTAIN]
    lost = [one for one in journal.outcomes if one.kind is OutcomeKind.UNCERTAIN]
    assert {one.failure_class for one in lost} == {FailureClass.CONNECTION}
    assert bench.smsc.binds == 2
    check_against_the_far_side(bench)


async def test_the_smsc_unbinds_us(bench: Any, wait_until: Until) -> None:
    """unbind_resp goes out, a new bind is made, the rest is sent."""
    bench.smsc.behaviour = lambda to: Behaviour(unbind=to.endswith("5"))
    journal = await bench.deliver(many(20), window=1)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 20}
    assert bench.smsc.binds >= 2
    assert [one for one in bench.smsc.heard if one[0] == 0x80000006], "no unbind_resp"
    check_against_the_far_side(bench)


async def test_we_unbind_and_wait_for_the_answer(bench: Any) -> None:
    """The last request of a delivery is unbind."""
    await bench.deliver(ONE)

    assert bench.smsc.heard[-1][0] == wire.UNBIND


async def test_an_unanswered_unbind_does_not_hold_us(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is closed after a while."""
    monkeypatch.setattr("ignition_ext.channels.smpp.session._UNBIND_SECONDS", 0.1)
    bench.smsc.answers_unbind = False
    async with asyncio.timeout(20):
        journal = await bench.deliver(ONE)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}


async def test_enquire_link_is_answered(bench: Any, wait_until: Until) -> None:
    """With the sequence number of the request."""
    bench.smsc.behaviour = lambda _: Behaviour(response_delay=0.3)
    task = asyncio.create_task(bench.deliver(ONE))
    await wait_until(lambda: bool(bench.smsc.submits))
    bench.smsc.send(wire.pack(wire.ENQUIRE_LINK, 0, 4711))
    await task

    assert (0x80000015, 0, 4711) in bench.smsc.heard


async def test_a_dead_link_is_noticed_and_made_anew(bench: Any, wait_until: Until) -> None:
    """enquire_link is sent in silence; when it is not answered, the link is dead."""
    bench.smsc.answers_enquire_link = False
    without_receipt = [("+9991040001", "Hi")]
    task = asyncio.create_task(
        bench.deliver(without_receipt, linger=60, enquire_link=0.1, response_timeout=0.3)
    )
    await wait_until(lambda: bench.smsc.binds == 2)
    bench.stop.set()
    journal = await task

    assert wire.ENQUIRE_LINK in {one[0] for one in bench.smsc.heard}
    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}


async def test_a_link_that_answers_nothing_is_made_anew(bench: Any) -> None:
    """What was on it is uncertain, the rest goes over the next bind."""
    bench.smsc.behaviour = lambda _: Behaviour(respond=bench.smsc.binds > 1)
    journal = await bench.deliver(many(20), window=5, response_timeout=0.3)

    assert journal.kinds == {OutcomeKind.UNCERTAIN: 5, OutcomeKind.ACCEPTED: 15}
    assert {one.kind for one in journal.outcomes[:5]} == {OutcomeKind.UNCERTAIN}
    assert bench.smsc.binds == 2


async def test_an_answered_enquire_link_keeps_the_link(bench: Any) -> None:
    """A slow SMSC is not a dead one."""
    bench.smsc.behaviour = lambda _: Behaviour(response_delay=0.6)
    journal = await bench.deliver(ONE, enquire_link=0.05, response_timeout=3)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert bench.smsc.binds == 1
    assert [one[0] for one in bench.smsc.heard].count(wire.ENQUIRE_LINK) >= 3


async def during(bench: Any, wait_until: Until, octets: bytes, **changes: Any) -> Any:
    """Send octets to the client while its message is unanswered."""
    bench.smsc.behaviour = lambda _: Behaviour(response_delay=0.3)
    task = asyncio.create_task(bench.deliver(ONE, linger=0.2, **changes))
    await wait_until(lambda: bool(bench.smsc.submits))
    bench.smsc.send(octets)
    return await task


async def test_an_unknown_command_is_nacked(bench: Any, wait_until: Until) -> None:
    """generic_nack with 0x03 and the request's sequence number; the bind lives on."""
    journal = await during(bench, wait_until, wire.pack(0x0000FFFF, 0, 4711, b"what?"))

    assert (0x80000000, 0x03, 4711) in bench.smsc.heard
    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert bench.smsc.binds == 1


def handset(text: bytes, *, esm_class: int = 0, tlvs: bytes = b"") -> bytes:
    """A deliver_sm with sequence number 4711."""
    body = (
        b"\0\x01\x014915112345678\0\x05\0Acme\0"
        + bytes((esm_class, 0, 0, 0, 0, 0, 0, 0, 0, len(text)))
        + text
        + tlvs
    )
    return wire.pack(wire.DELIVER_SM, 0, 4711, body)


@pytest.mark.parametrize(
    "tlvs",
    [
        wire.tlv(0x1400, b"vendor"),
        wire.tlv(0x0210, b"\x34"),
        wire.tlv(0x001D, b"words\0"),
        wire.tlv(0x0427, b""),
        b"\x14",
        b"\x14\x00\xff\xff",
    ],
    ids=["vendor", "undeclared", "undeclared text", "empty", "torn", "too long"],
)
async def test_strange_tlvs_do_not_cost_the_bind(
    bench: Any, wait_until: Until, tlvs: bytes
) -> None:
    """smpplib raises on these and its loop ends."""
    text = b"id:77 stat:DELIVRD err:000"
    journal = await during(bench, wait_until, handset(text, esm_class=4, tlvs=tlvs))

    assert "77" in [one.provider_id for one in bench.receipts]
    assert (0x80000005, 0, 4711) in bench.smsc.heard
    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert bench.smsc.binds == 1


@pytest.mark.parametrize(
    "text", [b"STOP", b"\xf0\x9f\x98\x80", b"id:77 stat:DELIVRD"], ids=["stop", "emoji", "forged"]
)
async def test_a_message_from_a_handset_stays_with_the_smsc(
    bench: Any, wait_until: Until, text: bytes
) -> None:
    """Nothing here stores it, so it is not acknowledged: a STOP must not be lost."""
    await during(bench, wait_until, handset(text))

    assert (0x80000005, 0x64, 4711) in bench.smsc.heard
    assert "77" not in [one.provider_id for one in bench.receipts]
    assert bench.smsc.binds == 1


async def test_a_torn_deliver_sm_is_refused(bench: Any, wait_until: Until) -> None:
    """0x02, and the bind lives on."""
    await during(bench, wait_until, wire.pack(wire.DELIVER_SM, 0, 4711, b"\0\x01"))

    assert (0x80000005, 0x02, 4711) in bench.smsc.heard
    assert bench.smsc.binds == 1


@pytest.mark.parametrize("length", [8, 0xFFFFFFFF], ids=["short", "4 GiB"])
async def test_an_impossible_length_ends_the_link(
    bench: Any, wait_until: Until, length: int
) -> None:
    """Nothing behind it can be trusted; the message on the wire is uncertain at once."""
    async with asyncio.timeout(4):
        journal = await during(
            bench, wait_until, length.to_bytes(4, "big") + b"\0" * 12, response_timeout=60
        )

    assert journal.kinds == {OutcomeKind.UNCERTAIN: 1}
    assert str(length) in journal.outcomes[0].text


async def test_garbage_instead_of_smpp(bench: Any, wait_until: Until) -> None:
    """An HTTP answer is no PDU."""
    journal = await during(bench, wait_until, b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert journal.kinds == {OutcomeKind.UNCERTAIN: 1}


async def test_a_nack_of_our_submit_is_its_answer(bench: Any, wait_until: Until) -> None:
    """It says that what we send is not understood: the delivery ends, nothing is charged."""
    bench.smsc.behaviour = lambda _: Behaviour(respond=False)
    task = asyncio.create_task(bench.deliver(ONE))
    await wait_until(lambda: bool(bench.smsc.submits))
    bench.smsc.send(wire.pack(wire.GENERIC_NACK, 0x03, bench.smsc.submits[0].sequence))
    with pytest.raises(ProtocolViolation, match="0x00000003"):
        await task

    assert bench.journal.outcomes[0].failure_class is FailureClass.CONFIGURATION
    assert not bench.journal.outcomes[0].charges_attempt


async def test_a_nack_of_nothing_ends_the_link(bench: Any, wait_until: Until) -> None:
    """The SMSC lost its place in our stream."""
    journal = await during(bench, wait_until, wire.pack(wire.GENERIC_NACK, 0x02, 0))

    assert journal.kinds == {OutcomeKind.UNCERTAIN: 1}


async def test_not_bound_is_bound_again(bench: Any) -> None:
    """0x04 says that the SMSC forgot our bind; the message is not charged and goes again."""
    calls = iter([0x04, 0])
    bench.smsc.behaviour = lambda _: Behaviour(status=next(calls))
    journal = await bench.deliver(ONE)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert bench.smsc.binds == 2


async def test_the_server_goes_away_for_good(bench: Any) -> None:
    """Unwritten is unsent, unanswered uncertain; the error says that nobody listens."""

    def behave(to: str) -> Behaviour:
        if to.endswith("10"):
            bench.smsc.bind_statuses = [0x0D] * 1000
            return Behaviour(drop="after")
        return Behaviour(response_delay=0.01)

    bench.smsc.behaviour = behave
    with pytest.raises(ConnectFailed, match="0x0000000D"):
        await bench.deliver(many(40), window=4, reconnect_timeout=0.2)

    assert bench.journal.kinds[OutcomeKind.UNCERTAIN] in range(1, 5)
    check_against_the_far_side(bench)


async def test_an_smsc_that_ends_each_link_is_left(bench: Any) -> None:
    """Each bind costs what was on the wire; without a single answer that does not go on."""
    bench.smsc.behaviour = lambda _: Behaviour(drop="before")
    with pytest.raises(ConnectFailed, match=r"bound and lost \d+ times without an answer"):
        await bench.deliver(many(100_000), window=1, reconnect_timeout=0.3, reconnect_max=0.05)

    assert bench.smsc.submits == []
    assert 1 < bench.journal.kinds[OutcomeKind.UNCERTAIN] <= bench.smsc.binds
    assert bench.journal.kinds[OutcomeKind.ACCEPTED] == 0


@pytest.mark.parametrize(("answered", "most"), [(0, 20), (25, 40)], ids=["never", "no more"])
async def test_an_smsc_that_answers_only_enquire_link_is_left(
    bench: Any, answered: int, most: int
) -> None:
    """Two windows are uncertain, and as many more if the first link worked before."""
    bench.smsc.behaviour = lambda _: Behaviour(respond=len(bench.smsc.submits) < answered)
    with pytest.raises(ConnectFailed, match=r"an answer that counts.*within 0\.4 s"):
        await bench.deliver(
            many(300), window=10, response_timeout=0.4, enquire_link=0.05, reconnect_timeout=0.8
        )

    assert wire.ENQUIRE_LINK in {one[0] for one in bench.smsc.heard}
    assert set(bench.journal.kinds) <= {OutcomeKind.ACCEPTED, OutcomeKind.UNCERTAIN}
    assert 10 <= bench.journal.kinds[OutcomeKind.UNCERTAIN] <= most
    check_against_the_far_side(bench)


async def test_receipts_do_not_keep_an_smsc_that_ends_each_link(bench: Any) -> None:
    """Each bind brings one before it is dropped; receipts are no answers to what is sent."""

    def behave(_: str) -> Behaviour:
        bench.smsc.send(handset(b"id:77 stat:DELIVRD err:000", esm_class=4))
        return Behaviour(drop="before")

    bench.smsc.behaviour = behave
    with pytest.raises(ConnectFailed, match="without an answer that counts"):
        await bench.deliver(
            many(100_000), linger=1, window=1, reconnect_timeout=0.3, reconnect_max=0.05
        )

    assert bench.receipts
    assert 1 < bench.journal.kinds[OutcomeKind.UNCERTAIN] <= bench.smsc.binds


async def test_not_bound_to_everything_is_given_up(bench: Any) -> None:
    """0x04 is no progress; what else is in flight has its answers before the link is dropped."""
    bench.smsc.behaviour = lambda to: Behaviour(status=0x04, response_delay=0.01 * int(to[-1]))
    with pytest.raises(ConnectFailed, match=r"an answer that counts.*BIND Status"):
        await bench.deliver(many(100), window=10, reconnect_timeout=0.3, reconnect_max=0.05)

    assert set(bench.journal.kinds) == {OutcomeKind.DEFERRED}
    assert not any(one.charges_attempt for one in bench.journal.outcomes)
    assert bench.journal.kinds[OutcomeKind.DEFERRED] <= 10
    assert bench.smsc.submits == []


async def test_a_link_that_is_not_bound_does_not_wait_for_ever(bench: Any) -> None:
    """What is never answered beside a 0x04 is uncertain in its time; the rest goes again."""
    strange = iter([Behaviour(status=0x04), Behaviour(respond=False)])
    bench.smsc.behaviour = lambda _: next(strange, Behaviour())
    journal = await bench.deliver(many(20), window=5, response_timeout=0.5)

    assert journal.kinds == {OutcomeKind.UNCERTAIN: 1, OutcomeKind.ACCEPTED: 19}
    assert journal.outcomes[1].kind is OutcomeKind.UNCERTAIN
    assert bench.smsc.binds == 2
    check_against_the_far_side(bench)


async def test_a_long_message_across_a_lost_link_is_uncertain(bench: Any) -> None:
    """Its first parts may have arrived: it is not sent afresh, and not called accepted."""
    calls = iter([Behaviour(), Behaviour(drop="before"), *[Behaviour()] * 9])
    bench.smsc.behaviour = lambda _: next(calls)
    journal = await bench.deliver([("+4915112345678", "a" * 400)], window=1)
    (delivery,) = journal.deliveries.values()

    assert delivery.outcome.kind is OutcomeKind.UNCERTAIN
    assert [one.outcome.kind for one in delivery.parts] == [
        OutcomeKind.ACCEPTED,
        OutcomeKind.UNCERTAIN,
        OutcomeKind.ACCEPTED,
    ]
