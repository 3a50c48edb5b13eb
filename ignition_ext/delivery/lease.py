"""Keeps a sender's lease alive, and listens to what the operator asks of the run meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from ignition_ext.ledger.contract import Ledger
from ignition_ext.values import LeaseId, RunRef, RunState

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
"""A lease is renewed this often within its duration, so that one slow renewal does not lose it."""


@dataclass(slots=True)
class Watch:
    """What the keeper of a lease has learnt; ``state`` is the run's as last read."""

    state: RunState


@asynccontextmanager
async def kept_lease(
    ledger: Ledger,
    run: RunRef,
    lease: LeaseId,
    *,
    state: RunState,
    duration: timedelta,
    look_every: timedelta,
    stop: asyncio.Event,
) -> AsyncIterator[Watch]:
    """Renew a lease in the background until the block ends.

    ``stop`` is set as soon as the run is no longer open, or when the database was away for so
    long that the lease may have lapsed: nothing new may be written to the wire then.
    """
    watch = Watch(state)
    interval = min(look_every, duration / RENEWALS_PER_LEASE).total_seconds()

    async def keep() -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            try:
                watch.state = await ledger.renew(run, lease, duration)
                renewed = time.monotonic()
            except Exception:
                # A short absence of the database costs nothing; only a lapsed lease does.
                logger.warning("the lease of run %s was not renewed", run.id, exc_info=True)
                if time.monotonic() - renewed >= duration.total_seconds():
                    stop.set()
            if watch.state is not RunState.OPEN:
                stop.set()

    keeper = asyncio.create_task(keep(), name=f"lease {lease}")
    try:
        yield watch
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
