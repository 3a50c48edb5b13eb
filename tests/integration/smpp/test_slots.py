"""Slots: the right to bind, as somebody outside counts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ignition_ext.channels.smpp import SmppTransport
from ignition_ext.errors import ConnectFailed, Throttled
from ignition_ext.values import OutcomeKind

Until = Callable[..., Awaitable[None]]


def many(count: int) -> list[tuple[str, str]]:
    """Recipients and texts, each different."""
    return [(f"+4915100{index:06d}", f"text {index}") for index in range(count)]


class Slots:
    """So many binds, whoever wants them."""

    def __init__(self, bench: Any, count: int) -> None:
        self._bench, self._free = bench, asyncio.Semaphore(count)
        self.held = self.most = self.waiting = self.entered = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Wait for a slot, hold it; the bind is gone when it is left."""
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.entered += 1
        self.held += 1
        self.most = max(self.most, self.held)
        assert len(self._bench.smsc.sessions) < self.held, "bound before the slot was entered"
        try:
            yield
        finally:
            self.held -= 1
            self._free.release()

    async def deliver(self, count: int, **changes: Any) -> None:
        """Send through a transport that uses these slots."""
        bench = self._bench
        transport = SmppTransport(bench.options(**changes), slot=self)
        await transport.deliver(bench.envelopes(many(count)), bench.journal, bench.stop)


async def test_each_bind_has_its_slot_and_gives_it_back(bench: Any) -> None:
    """Three binds, three slots, none left behind."""
    bench.smsc.response_delay = 0.005
    slots = Slots(bench, 5)
    await slots.deliver(100, binds=3, window=5)

    assert (slots.most, slots.held, slots.entered) == (3, 0, 3)
    assert bench.smsc.binds == 3
    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 100}


async def test_who_finds_no_slot_leaves_the_work_to_the_others(bench: Any) -> None:
    """Four binds are wanted, two slots are free: all is sent, and nobody waits at the end."""
    bench.smsc.response_delay = 0.005
    slots = Slots(bench, 2)
    async with asyncio.timeout(60):
        await slots.deliver(100, binds=4, window=5)

    assert (slots.most, slots.held, slots.waiting) == (2, 0, 0)
    assert bench.smsc.binds == 2
    assert bench.journal.kinds == {OutcomeKind.ACCEPTED: 100}


async def test_a_stop_ends_the_waiting_for_a_slot(bench: Any, wait_until: Until) -> None:
    """Nothing was intended, nothing was opened."""
    slots = Slots(bench, 0)
    task = asyncio.create_task(slots.deliver(10))
    await wait_until(lambda: slots.waiting == 1)
    bench.stop.set()
    async with asyncio.timeout(60):
        await task

    assert slots.waiting == 0
    assert bench.journal.intended == []
    assert bench.smsc.bind_attempts == 0


async def test_a_cancelled_delivery_gives_its_slot_back(bench: Any, wait_until: Until) -> None:
    """Also while messages are unanswered."""
    bench.smsc.response_delay = 600
    slots = Slots(bench, 1)
    task = asyncio.create_task(slots.deliver(10, window=5, response_timeout=900))
    await wait_until(lambda: len(bench.smsc.submits) == 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert slots.held == 0


async def test_a_lost_link_keeps_its_slot(bench: Any, wait_until: Until) -> None:
    """It is bound anew within the same right; another one would have to wait for it."""
    bench.smsc.response_delay = 0.01
    slots = Slots(bench, 1)
    task = asyncio.create_task(slots.deliver(200, window=5))
    await wait_until(lambda: len(bench.smsc.submits) > 20)
    bench.smsc.drop()
    await task

    assert bench.smsc.binds == 2
    assert (slots.entered, slots.held) == (1, 0)


async def test_a_refused_bind_gives_its_slot_back(bench: Any) -> None:
    """The provider says no: others may try."""
    bench.smsc.bind_statuses = [0x0D] * 100
    slots = Slots(bench, 1)
    with pytest.raises(ConnectFailed):
        await slots.deliver(10, bind_patience=0.1)

    assert slots.held == 0


async def test_a_slot_may_be_refused(bench: Any) -> None:
    """Its error is the delivery's; nothing was intended."""

    @asynccontextmanager
    async def none_left() -> AsyncIterator[None]:
        raise Throttled("All 2 binds of this account are taken.")
        yield

    transport = SmppTransport(bench.options(), slot=none_left)
    with pytest.raises(Throttled, match="All 2 binds"):
        await transport.deliver(bench.envelopes(many(3)), bench.journal, bench.stop)

    assert bench.journal.intended == []
    assert bench.smsc.bind_attempts == 0


async def test_asking_needs_a_slot_too(bench: Any) -> None:
    """A check binds, and the provider counts it."""
    slots = Slots(bench, 1)
    await SmppTransport(bench.options(), slot=slots).check()

    assert (slots.entered, slots.held) == (1, 0)
