"""Keeps a sender's leases alive, and listens to what the operator asks of the run meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from ignition_ext.values import RunState

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
"""A lease is renewed this often within its duration, so that one slow renewal does not lose it."""


@asynccontextmanager
async def kept_leases(
    renew: Callable[[], Awaitable[RunState]],
    *,
    duration: timedelta,
    look_every: timedelta,
    stop: asyncio.Event,
) -> AsyncIterator[None]:
    """Renew a sender's leases in the background until the block ends.

    ``stop`` is set as soon as the run is no longer open, or when the database was away for so
    long that a lease may have lapsed: nothing new may be written to the wire then.

    Args:
        renew: extends them all; returns what the operator asks of the run.
    """
    interval = min(look_every, duration / RENEWALS_PER_LEASE).total_seconds()
    lasts = duration.total_seconds()

    async def keep() -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            asked = time.monotonic()
            try:
                # One that says nothing is away as well.
                async with asyncio.timeout(max(renewed + lasts - asked, interval)):
                    state = await renew()
                if state is not RunState.OPEN:
                    stop.set()
                renewed = asked
            except Exception:
                # A short absence of the database costs nothing; only a lapsed lease does.
                logger.warning("the leases were not renewed", exc_info=True)
                if time.monotonic() - renewed >= lasts:
                    stop.set()

    keeper = asyncio.create_task(keep(), name="leases")
    try:
        yield
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
