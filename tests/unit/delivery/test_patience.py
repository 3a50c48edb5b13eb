from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from ignition_ext.database import Database
from ignition_ext.delivery.batch import BatchResult
from ignition_ext.delivery.patience import LOOK_AGAIN, patiently, time_left
from ignition_ext.errors import DatabaseError
from ignition_ext.values import MessageState, RunState


def failing(times: int) -> tuple[list[int], Callable[[], Awaitable[str]]]:
    """Work that finds no database so many times; and how often it was called."""
    calls: list[int] = []

    async def work() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise DatabaseError(f"away, {len(calls)}")
        return "done"

    return calls, work


async def test_work_goes_on_when_the_database_is_back() -> None:
    """A failure costs a pause, not the run."""
    calls, work = failing(1)

    assert await patiently(work, asyncio.Event()) == "done"
    assert len(calls) == 2


async def test_patience_ends_with_the_last_error() -> None:
    """A database that stays away is told in its own words."""
    calls, work = failing(99)

    with pytest.raises(DatabaseError, match=r"^away, 2\.$"):
        await patiently(work, asyncio.Event(), patience=timedelta(seconds=0.6))
    assert len(calls) == 2


async def test_a_stop_ends_the_wait() -> None:
    """Whoever is asked to stop does not wait for a database first."""
    stop = asyncio.Event()
    calls, work = failing(99)
    waiting = asyncio.create_task(patiently(work, stop))
    await asyncio.sleep(0)
    stop.set()

    with pytest.raises(DatabaseError, match="away, 1"):
        await asyncio.wait_for(waiting, 60)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("claimed", "next_at", "low", "high"),
    [
        (5, None, timedelta(0), timedelta(0)),
        (0, None, LOOK_AGAIN, LOOK_AGAIN),
        (0, timedelta(hours=-1), timedelta(0), timedelta(0)),
        (0, timedelta(hours=1), timedelta(minutes=55), timedelta(minutes=61)),
    ],
    ids=["sent some", "others hold all", "past", "later"],
)
async def test_the_time_left_is_the_databases(
    claimed: int,
    next_at: timedelta | None,
    low: timedelta,
    high: timedelta,
    sqlite_database_url: str,
) -> None:
    """At once after a batch, else at the ledger's time."""
    batch = BatchResult(
        claimed=claimed,
        counts={MessageState.PENDING: 1},
        next_at=None if next_at is None else datetime.now(UTC) + next_at,
        run_state=RunState.OPEN,
    )
    database = Database(sqlite_database_url)
    left = await time_left(database, batch)
    await database.close()

    assert low <= left <= high
