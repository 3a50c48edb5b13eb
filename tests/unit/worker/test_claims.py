"""What goes wrong with one run, or comes back too early, costs no other run anything."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound

from ignition_ext.worker.wakeup import WakeUp


@pytest.mark.parametrize("away", [500, None], ids=["error", "no connection"])
async def test_a_deployment_that_cannot_be_read_costs_no_other_run_anything(
    server: Any, make_worker: Any, runs: Any, away: int | None
) -> None:
    """The run stays scheduled, its slot is free again, and a later look takes it."""
    worker = make_worker(limit=2)
    worker.run = runs.run
    error = httpx.ConnectError("away") if away is None else server.error(away)
    failures = 0

    async def fail_three_times() -> None:
        nonlocal failures
        failures += 1
        if failures <= 3:
            raise error

    async with server.working(worker) as working:
        other = server.add()
        await server.until(lambda: runs.begun)
        server.on_deployment = fail_three_times
        later = server.add()
        await server.until(lambda: len(runs.begun) == 2)
        assert not working.done()
        assert worker.limiter.borrowed_tokens == 2

    assert failures == 4
    assert server.claimed == [other.id, later.id]


async def test_a_deleted_deployment_keeps_no_slot(server: Any, make_worker: Any, runs: Any) -> None:
    """Its run is cancelled; the next one has the only slot."""
    worker = make_worker(limit=1)
    worker.run = runs.run

    async def deleted() -> None:
        server.due, server.on_deployment = [], there
        raise ObjectNotFound(Exception("deleted"))

    async def there() -> None:
        return None

    async with server.working(worker):
        server.on_deployment = deleted
        server.add()
        await server.until(lambda: server.on_deployment is there and not server.due)
        following = server.add()
        await server.until(lambda: runs.begun)

    assert runs.begun == [following.id]


@pytest.mark.parametrize("limit", [2, None], ids=["with a limit", "without"])
async def test_a_run_that_comes_back_waits_for_its_former_process(
    server: Any, make_worker: Any, runs: Any, limit: int | None
) -> None:
    """Resumed or retried while that still ends, it overlaps with itself nowhere."""
    worker = make_worker(limit=limit)
    worker.run = runs.run

    async with server.working(worker) as working:
        run = server.add()
        await server.until(lambda: runs.begun and not worker._submitting_flow_run_ids)
        server.due, server.looks = [run], 0
        await server.until(lambda: server.looks > 3)
        assert (runs.begun, worker._is_busy()) == ([run.id], True)
        runs.over.set()
        await server.until(lambda: len(runs.begun) == 2)
        assert not working.done()

    assert runs.begun == [run.id, run.id]


async def test_the_wake_up_survives_any_error() -> None:
    """Without it runs would wait for the polling loop for as long as the worker lives."""
    asked = 0
    twice = asyncio.Event()

    async def poll() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            wakeup.wake()
            raise RuntimeError("unforeseen")
        twice.set()

    wakeup = WakeUp(poll)
    wakeup.wake()
    answering = asyncio.create_task(wakeup._answer())
    try:
        async with asyncio.timeout(90):
            await twice.wait()
    finally:
        answering.cancel()
