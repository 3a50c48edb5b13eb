"""What the SMPP conversations share: a journal that watches its transport, SMSCs, waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

import pytest

from ignition_ext.channels.smpp import SmppOptions, SmppReceipt, SmppTransport, SmsEnvelope
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


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a condition; fail when it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the far side has no event to wait on
            await asyncio.sleep(0.005)


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[None]]:
    """The function ``until``."""
    return until
