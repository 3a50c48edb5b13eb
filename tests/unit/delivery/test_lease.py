"""A sender's leases: kept while the database answers, and nothing new is sent when it does not."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from ignition_ext.delivery.lease import kept_leases
from ignition_ext.values import RunState

LEASE, LOOK = timedelta(seconds=0.2), timedelta(seconds=0.02)


async def test_a_database_that_says_nothing_stops_the_sending() -> None:
    """No error comes from a host that is gone, and the lease lapses all the same."""
    stop, asked_again = asyncio.Event(), asyncio.Event()

    async def renew() -> RunState:
        if stop.is_set():
            asked_again.set()
        await asyncio.Event().wait()
        return RunState.OPEN

    async with kept_leases(renew, duration=LEASE, look_every=LOOK, stop=stop):
        await asyncio.wait_for(stop.wait(), 30)
        await asyncio.wait_for(asked_again.wait(), 30)


async def test_a_short_absence_stops_nothing() -> None:
    """A lease is renewed some times within its duration."""
    stop, failures = asyncio.Event(), iter([True, False, True, False])
    renewed = asyncio.Event()

    async def renew() -> RunState:
        if next(failures, False):
            raise OSError("away")
        renewed.set()
        return RunState.OPEN

    async with kept_leases(renew, duration=timedelta(minutes=1), look_every=LOOK, stop=stop):
        for _ in range(2):
            await asyncio.wait_for(renewed.wait(), 30)
            renewed.clear()

    assert not stop.is_set()
