"""What the SMPP conversations share: a journal that watches its transport, SMSCs, waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

import pytest

from ignition_ext.channels.smpp import SmppOptions, SmppReceipt, SmppTransport, SmsEnvelope
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind, new_id


class WatchfulJournal:
    """Keeps what it is told and refuses what the contract forbids."""

    def __init__(self) -> None:
        self.intended: list[MessageId] = []
        self._known: set[MessageId] = set()
        self.groups: list[int] = []
        self.deliveries: dict[MessageId, Delivery] = {}
        self.forbidden: set[MessageId] = set()
        self.most_open = self.turns = 0
        self.changed = asyncio.Event()

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Record the intent; nothing is intended twice."""
        assert self._known.isdisjoint(ids), "intended twice"
        await asyncio.sleep(0)
        allowed = [one for one in ids if one not in self.forbidden]
        self.intended.extend(allowed)
        self._known.update(allowed)
        self.groups.append(len(ids))
        self.most_open = max(self.most_open, len(self.intended) - len(self.deliveries))
        return frozenset(allowed)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Record the outcome; exactly once, and only of what was intended."""
        await asyncio.sleep(0)
        for delivery in deliveries:
            assert delivery.message_id in self._known, "settled, never intended"
            assert delivery.message_id not in self.deliveries, "settled twice"
            self.deliveries[delivery.message_id] = delivery
        self.changed.set()

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Settle and intend in one step, as a transaction does."""
        self.turns += 1
        if deliveries:
            await self.settle(deliveries)
        return await self.intend(ids) if ids else frozenset()

    @property
    def kinds(self) -> Counter[OutcomeKind]:
        """How many messages ended how."""
        return Counter(one.outcome.kind for one in self.deliveries.values())

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes in the order in which messages were intended."""
        return [self.deliveries[one].outcome for one in self.intended]

    def check_complete(self) -> None:
        """Each intended message is settled."""
        assert set(self.intended) == set(self.deliveries)


class Bench:
    """One simulator, one journal, and receipts as they were stored."""

    def __init__(self, smsc: SmscSimulator) -> None:
        self.smsc, self.journal = smsc, WatchfulJournal()
        self.receipts: list[SmppReceipt] = []
        self.stop = asyncio.Event()

    async def store(self, receipts: Sequence[SmppReceipt]) -> None:
        """Store receipts."""
        self.receipts.extend(receipts)

    def options(self, **changes: object) -> SmppOptions:
        """Options for the simulator, quick to give up."""
        values: dict[str, object] = {
            "host": self.smsc.host,
            "port": self.smsc.port,
            "system_id": "ignition",
            "password": "secret",
            "connect_timeout": 5.0,
            "response_timeout": 5.0,
            "drain_timeout": 5.0,
            "reconnect_base": 0.01,
            "reconnect_timeout": 2.0,
            "bind_retry": 0.02,
            "bind_patience": 2.0,
            "throttle_base": 0.01,
        }
        return SmppOptions(**(values | changes))  # type: ignore[arg-type]

    def envelopes(self, messages: Iterable[tuple[str, str]]) -> AsyncIterator[SmsEnvelope]:
        """Envelopes for (recipient, text) pairs."""
        return envelopes(messages)

    async def deliver(
        self, messages: Iterable[tuple[str, str]], *, linger: float = 0, **changes: object
    ) -> WatchfulJournal:
        """Send (recipient, text) pairs; each intended message must be settled afterwards."""
        hears = linger > 0
        transport = SmppTransport(self.options(**changes), self.store if hears else None, linger)
        try:
            await transport.deliver(envelopes(messages), self.journal, self.stop)
        finally:
            self.journal.check_complete()
        return self.journal


class Clock:
    """The loop's time as a test wants it: moved at once, or a little at each look."""

    def __init__(self, real: Callable[[], float]) -> None:
        self._real, self.shift, self.step = real, 0.0, 0.0

    def __call__(self) -> float:
        self.shift += self.step
        return self._real() + self.shift

    async def advance(self, seconds: float) -> None:
        """Let time pass; what is due has been called when it returns."""
        self.shift += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the test's loop, and so of everything that it times."""
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time)
    monkeypatch.setattr(loop, "time", clock)
    return clock


class Link(asyncio.Protocol):
    """One connection to the raw SMSC, which writes what the test says."""

    def __init__(self, smsc: RawSmsc) -> None:
        self._smsc, self._held = smsc, b""
        self.open: dict[int, str] = {}
        self.heard: list[tuple[int, int, int]] = []
        self.ignored: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._smsc.links.append(self)

    def data_received(self, data: bytes) -> None:
        """Bind and unbind are answered; a submit_sm waits for the test, or for nothing."""
        self._held += data
        while len(self._held) >= 16 and len(self._held) >= int.from_bytes(self._held[:4], "big"):
            length = int.from_bytes(self._held[:4], "big")
            pdu, self._held = self._held[:length], self._held[length:]
            _, command, status, sequence = wire.HEADER.unpack_from(pdu)
            self.heard.append((command, status, sequence))
            if command == wire.SUBMIT_SM:
                to = wire.read_submit(pdu, message_id="", session=1).destination
                self._smsc.taken.append(to)
                self.open[sequence] = to
                if self._smsc.answers_at_once:
                    self.answer(sequence)
            elif command in {wire.BIND_TRANSCEIVER, wire.ENQUIRE_LINK, wire.UNBIND} - self.ignored:
                body = b"raw\0" if command == wire.BIND_TRANSCEIVER else b""
                self.transport.write(wire.pack(command | wire.RESPONSE, 0, sequence, body))

    def response(self, sequence: int, status: int = 0) -> bytes:
        """The submit_sm_resp to one of ``open``, which then is no more; the id is the number."""
        to = self.open.pop(sequence)
        body = b"" if status else wire.string(to)
        return wire.pack(wire.SUBMIT_SM | wire.RESPONSE, status, sequence, body)

    def answer(self, *sequences: int, status: int = 0) -> None:
        """Answer in this order, in one piece."""
        self.transport.write(b"".join(self.response(one, status) for one in sequences))


class RawSmsc:
    """An SMSC that does nothing by itself but bind: when and what it answers is the test's say.

    Attributes:
        taken: the recipient of each submit_sm that ever came, in order.
        links: each connection that ever came.
        answers_at_once: accept each submit_sm from now on.
    """

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.links: list[Link] = []
        self.answers_at_once = False
        self.port = 0

    @property
    def link(self) -> Link:
        """The newest connection."""
        return self.links[-1]

    def relent(self) -> None:
        """Answer whatever waits, and from now on everything at once."""
        self.answers_at_once = True
        for link in self.links:
            link.answer(*link.open)


@pytest.fixture
async def raw() -> AsyncIterator[RawSmsc]:
    """A raw SMSC."""
    smsc = RawSmsc()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Link(smsc), "127.0.0.1", 0)
    smsc.port = server.sockets[0].getsockname()[1]
    yield smsc
    server.close()
    for link in smsc.links:
        link.transport.abort()
    await server.wait_closed()


async def envelopes(messages: Iterable[tuple[str, str]]) -> AsyncIterator[SmsEnvelope]:
    """Envelopes from "Acme" for (recipient, text) pairs."""
    for destination, text in messages:
        yield SmsEnvelope(
            message_id=MessageId(new_id()), source="Acme", destination=destination, text=text
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A simulator and what is needed to send to it; afterwards no connection, no task is left."""
    async with SmscSimulator(receipt_delay=0.01) as smsc:
        yield Bench(smsc)
        await until(lambda: not smsc.sessions)
    me = asyncio.current_task()
    await until(lambda: not [task for task in asyncio.all_tasks() if task is not me])


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition; fail when it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the far side has no event to wait on
            await asyncio.sleep(0.005)


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[None]]:
    """The function ``until``."""
    return until
