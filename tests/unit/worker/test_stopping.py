"""A worker that is told to stop ends in order, whatever it does at that moment."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a run"])
async def test_a_stop_ends_without_an_error(
    server: Any, make_worker: Any, runs: Any, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    """The worker's scopes are left in the order in which they were entered."""
    monkeypatch.setenv("IGNITION_WORKER_DRAIN_SECONDS", "0")
    monkeypatch.setattr("ignition_ext.worker.drain.LAST_SECONDS", 0.1)
    worker = make_worker()
    worker.run = runs.run
    if busy:
        server.add()

    async with server.working(worker) as working:
        await server.until(lambda: server.looks and (runs.begun or not busy))
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(90):
            await working

    assert "stopped!" in server.said[-1]
    assert len(runs.cancelled) == busy


async def test_a_run_whose_deployment_is_being_read_is_not_claimed(
    server: Any, make_worker: Any, runs: Any
) -> None:
    """The stop comes while the server is slow: the run stays scheduled for another worker."""
    worker = make_worker(limit=1)
    worker.run = runs.run
    late = server.add()

    async def told() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await server.until(lambda: worker._drain.asked)

    server.on_deployment = told

    async with server.working(worker) as working:
        async with asyncio.timeout(90):
            await working

    assert server.due == [late]
    assert not server.claimed
    assert not runs.begun
    assert not worker._submitting_flow_run_ids
    assert worker.limiter.borrowed_tokens == 0
