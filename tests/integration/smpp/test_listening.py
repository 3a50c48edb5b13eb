"""Listening without sending: links come and go, and nothing is answered before it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest

from ignition_ext.channels.smpp import BindType, SmppReceipt
from ignition_ext.channels.smpp.incoming import SmsFragment, read_incoming
from ignition_ext.channels.smpp.listening import SmppListener
from ignition_ext.channels.smpp.packed import read_deliver
from ignition_ext.channels.smpp.proof import Proofs
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.errors import AuthenticationFailed, DatabaseError, MustWait

KEEP = 0x64
Until = Callable[..., Awaitable[None]]


def deliver(words: bytes, number: int, *, esm_class: int = 0) -> bytes:
    """A deliver_sm from a handset."""
    body = wire.string("") + b"\1\1" + wire.string("4917012345678") + b"\1\1" + wire.string("123")
    body += bytes((esm_class, 0, 0)) + b"\0\0" + bytes((0, 0, 0, 0, len(words))) + words
    return wire.pack(wire.DELIVER_SM, 0, number, body)


def receipt(number: int) -> bytes:
    return deliver(f"id:{number} stat:DELIVRD err:000 text:".encode(), number, esm_class=4)


class Shelf:
    """Stores what comes, as long as it can."""

    def __init__(self) -> None:
        self.receipts: list[SmppReceipt] = []
        self.texts: list[SmsFragment] = []
        self.error: Exception | None = None
        self.poison = b""
        self.proved: list[SmsFragment] = []

    async def keep(self, receipts: Sequence[SmppReceipt]) -> None:
        if self.error is not None:
            raise self.error
        self.receipts += receipts

    async def store(self, texts: Sequence[SmsFragment]) -> None:
        if self.poison and any(one.octets == self.poison for one in texts):
            raise ValueError("no database takes this")
        self.texts += texts

    async def acknowledged(self, texts: Sequence[SmsFragment]) -> None:
        self.proved += texts


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@asynccontextmanager
async def listening(bench: Any, shelf: Shelf, **facts: Any) -> AsyncIterator[SmppListener]:
    """A listener at the bench's SMSC; stopped and drained at the end."""
    stop, told = asyncio.Event(), list[str]()
    slot = facts.pop("slot", nullcontext)
    listener = SmppListener(
        bench.options(**facts),
        on_receipts=shelf.keep,
        on_incoming=shelf,
        slot=slot,
        tell=told.append,
        waits=False,
    )
    task = asyncio.create_task(listener.run(stop))
    bound = asyncio.ensure_future(listener.bound.wait())
    try:
        await asyncio.wait({task, bound}, return_when=asyncio.FIRST_COMPLETED)
        yield listener
    finally:
        bound.cancel()
        stop.set()
        await task


async def test_what_comes_is_stored_and_then_answered(
    bench: Any, shelf: Shelf, wait_until: Until
) -> None:
    """Receipts and texts, in the order they came; unbound at the end."""
    async with listening(bench, shelf) as listener:
        for number in range(1, 51):
            bench.smsc.send(receipt(number) if number % 2 else deliver(b"hi", number))
        await wait_until(lambda: len(bench.smsc.receipt_answers) == 50)

    assert [one.provider_id for one in shelf.receipts] == [str(n) for n in range(1, 51, 2)]
    assert {(one.source, one.destination) for one in shelf.texts} == {("+4917012345678", "123")}
    assert set(bench.smsc.receipt_answers) == {0}
    assert (listener.desk.receipts, listener.desk.texts, listener.desk.refused) == (25, 25, 0)
    assert wire.UNBIND in {command for command, _, _ in bench.smsc.heard}


async def test_while_the_database_is_away_the_smsc_keeps_it(
    bench: Any, shelf: Shelf, wait_until: Until
) -> None:
    """Answered ESME_RX_T_APPN, and taken when it comes again."""
    shelf.error = DatabaseError("away")
    async with listening(bench, shelf):
        bench.smsc.send(receipt(1) + receipt(2))
        await wait_until(lambda: len(bench.smsc.receipt_answers) == 2)
        assert bench.smsc.receipt_answers == [KEEP, KEEP]
        assert shelf.receipts == []

        shelf.error = None
        bench.smsc.send(receipt(1) + receipt(2))
        await wait_until(lambda: len(bench.smsc.receipt_answers) == 4)

    assert bench.smsc.receipt_answers[2:] == [0, 0]
    assert len(shelf.receipts) == 2


async def test_an_answer_that_the_smsc_has_is_proved(
    bench: Any, shelf: Shelf, wait_until: Until
) -> None:
    """By what it says after it; of receipts nobody asks."""
    async with listening(bench, shelf):
        bench.smsc.send(receipt(1))
        await wait_until(lambda: len(bench.smsc.receipt_answers) == 1)
        asked = [command for command, _, _ in bench.smsc.heard].count(wire.ENQUIRE_LINK)
        bench.smsc.send(deliver(b"a", 2) + deliver(b"b", 3))
        await wait_until(lambda: len(shelf.proved) == 2)

    assert asked == 0
    assert [one.octets for one in shelf.proved] == [b"a", b"b"]


class Link:
    """A bind that takes its time to answer an enquire_link."""

    def __init__(self) -> None:
        self.is_open, self.asked = True, 0
        self.answer = asyncio.Event()

    async def request(self, encode: Callable[[int], bytes], timeout: float) -> bytes:
        self.asked += 1
        await self.answer.wait()
        return encode(self.asked)


async def test_texts_that_come_meanwhile_are_asked_for_together(shelf: Shelf) -> None:
    """However many come, one enquire_link is under way; whoever leaves waits for the last one."""
    proofs, link = Proofs(shelf.acknowledged), Link()
    texts = [read_incoming(read_deliver(deliver(b"%d" % n, n)), bind="b") for n in range(9)]
    proofs.acknowledged(link, texts[:1])  # type: ignore[arg-type]  # all that is asked of a bind
    await asyncio.sleep(0)
    for one in texts[1:]:
        proofs.acknowledged(link, [one])  # type: ignore[arg-type]
    assert (link.asked, shelf.proved) == (1, [])

    link.answer.set()
    await proofs.settled()

    assert (link.asked, shelf.proved) == (2, texts)


async def test_an_answer_that_was_lost_is_not_proved(
    bench: Any, shelf: Shelf, wait_until: Until
) -> None:
    """The link ends before the SMSC says that it has read so far."""
    bench.smsc.answers_enquire_link = False
    async with listening(bench, shelf):
        bench.smsc.send(deliver(b"a", 1))
        await wait_until(
            lambda: wire.ENQUIRE_LINK in {command for command, _, _ in bench.smsc.heard}
        )
        bench.smsc.drop()
        bench.smsc.answers_enquire_link = True
        await wait_until(lambda: bench.smsc.binds == 2)
        bench.smsc.send(deliver(b"a", 1))
        await wait_until(lambda: len(shelf.proved) == 1)

    assert [one.octets for one in shelf.texts] == [b"a", b"a"]


async def test_one_that_cannot_be_stored_holds_up_no_other(
    bench: Any, shelf: Shelf, wait_until: Until
) -> None:
    """It alone stays with the SMSC."""
    shelf.poison = b"poison"
    async with listening(bench, shelf):
        bench.smsc.send(deliver(b"a", 1) + deliver(b"poison", 2) + deliver(b"b", 3))
        await wait_until(lambda: len(bench.smsc.receipt_answers) == 3)

    assert sorted(bench.smsc.receipt_answers) == [0, 0, KEEP]
    assert [one.octets for one in shelf.texts] == [b"a", b"b"]


async def test_malformed_ones_do_not_end_the_bind(
    bench: Any, shelf: Shelf, wait_until: Until
) -> None:
    """A deliver_sm that ends early is refused; the next one is taken."""
    async with listening(bench, shelf):
        torn = wire.pack(wire.DELIVER_SM, 0, 1, b"\0\1\1491")
        lying = wire.pack(wire.DELIVER_SM, 0, 2, deliver(b"abc", 2)[16:-2])
        header = deliver(b"\x09\x00", 3, esm_class=0x40)
        bench.smsc.send(torn + lying + header + deliver(b"ok", 4))
        await wait_until(lambda: len(bench.smsc.receipt_answers) == 4)

    assert sorted(bench.smsc.receipt_answers) == [0, 0, 2, 2]
    assert [one.octets for one in shelf.texts] == [b"\x09\x00", b"ok"]
    assert bench.smsc.binds == 1


async def test_a_lost_link_is_made_anew(bench: Any, shelf: Shelf, wait_until: Until) -> None:
    """As often as it is lost."""
    async with listening(bench, shelf):
        for times in (2, 3, 4):
            bench.smsc.drop()
            await wait_until(lambda times=times: bench.smsc.binds == times, 60)
        bench.smsc.send(deliver(b"still here", 1))
        await wait_until(lambda: len(shelf.texts) == 1)

    assert bench.smsc.binds == 4


async def test_a_refused_login_is_tried_once(bench: Any, shelf: Shelf) -> None:
    """Providers lock accounts."""
    with pytest.raises(AuthenticationFailed):
        async with listening(bench, shelf, password="wrong"):
            pass

    assert bench.smsc.bind_attempts == 1


async def test_an_smsc_that_is_not_there_yet_is_waited_for(
    bench: Any, shelf: Shelf, wait_until: Until
) -> None:
    """Busy binds are none of the listener's faults."""
    bench.smsc.bind_statuses = [0x0D, 0x58, 0x08, 0x0D]
    async with listening(bench, shelf) as listener:
        await wait_until(listener.bound.is_set, 60)

    assert bench.smsc.bind_attempts >= 3


async def test_without_a_place_it_says_so(bench: Any, shelf: Shelf) -> None:
    """Who does not wait is told by whom the binds are used."""

    @asynccontextmanager
    async def taken() -> AsyncIterator[None]:
        raise MustWait("others have all binds")
        yield

    with pytest.raises(MustWait):
        async with listening(bench, shelf, slot=taken):
            pass

    assert bench.smsc.bind_attempts == 0


async def test_a_transmitter_listens_as_a_receiver(bench: Any, shelf: Shelf) -> None:
    """The counterpart of the bind that sends; nothing can be answered by it."""
    async with listening(bench, shelf, bind=BindType.TRANSMITTER) as listener:
        assert not listener.can_send
        assert [session.bound for session in bench.smsc.sessions] == [wire.BIND_RECEIVER]
