"""Waiting: for a database that is away, and for what falls due.

A sender outlives a restart of PostgreSQL and a disk that was full for a while: it stops sending,
says so, and goes on. What was on the wire when the database went is settled by the journal if it
comes back within seconds, else it becomes uncertain when its lease lapses.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from ignition_ext.database import Database, database_now
from ignition_ext.delivery.batch import BatchResult
from ignition_ext.errors import DatabaseError
from ignition_ext.ledger.run_rows import read_run
from ignition_ext.values import RunRef

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = timedelta(minutes=5)
"""A restart takes seconds, a failover a minute or two; later somebody has to look."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two tries; each is one connection."""
LOOK_AGAIN = timedelta(seconds=2)
"""When others hold all that is left, and nobody knows until when."""


async def patiently(
    work: Callable[[], Awaitable[T]], stop: asyncio.Event, *, patience: timedelta = PATIENCE
) -> T:
    """Await ``work()``, again where the database cannot be used, for as long as ``patience``.

    An attempt that lasted for half of the patience got on, and renews it.

    Raises:
        DatabaseError: of the last attempt, when the patience is used up or ``stop`` is set.
    """
    pause, failing_since = FIRST_PAUSE, None
    while True:
        began = time.monotonic()
        try:
            return await work()
        except DatabaseError as error:
            now = time.monotonic()
            if failing_since is None or now - began > patience.total_seconds() / 2:
                pause, failing_since = FIRST_PAUSE, now
            if stop.is_set() or now + pause - failing_since > patience.total_seconds():
                raise
            logger.warning("sending waits %.1f s and goes on then: %s", pause, error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
                raise
            pause = min(2 * pause, LONGEST_PAUSE)


async def time_left(database: Database, batch: BatchResult) -> timedelta:
    """How long until more of the run can be sent, by the database's clock alone."""
    if batch.over or batch.claimed:
        return timedelta(0)
    if batch.next_at is None:
        return LOOK_AGAIN
    async with database.read() as session:
        return max(batch.next_at - await database_now(session), timedelta(0))


async def rest_left(database: Database, run: RunRef, batch: BatchResult) -> timedelta:
    """How long nothing may be sent, at most until the deadline: the run has to be there then."""
    rest = timedelta(0) if batch.over else batch.rest
    async with database.read() as session:
        deadline = (await read_run(session, run.id)).deadline
        if deadline is None:
            return rest
        return min(rest, max(deadline - await database_now(session), timedelta(0)))
