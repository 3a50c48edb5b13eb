"""A deploy that changes the fork server while it forks: the run begins, and holds up no other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from ignition_ext.worker import server as module
from ignition_ext.worker.job import Job
from ignition_ext.worker.server import ForkedProcess
from ignition_ext.worker.servers import ForkServers

WITHOUT_PRELOADING = """
import sys; del sys.path[0]
import signal, types
from ignition_ext.worker import forking
forking.preload = lambda names: []
forking.rehearse = lambda: None
forking.stamps = lambda: []
child = types.ModuleType("ignition_ext.worker.child")
child.run = lambda job, base: signal.pause()
sys.modules["ignition_ext.worker.child"] = child
forking.main()
"""
JOB = Job(
    flow_run="{}",
    deployment=None,
    environment={},
    directory="/",
    manifest_path="/nowhere",
    stream_output=False,
)


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ForkServers]:
    """A fork server whose children wait for a signal, and of which a file has changed."""
    monkeypatch.setattr(module, "_START", WITHOUT_PRELOADING)
    started = ForkServers()
    first = await started.refresh()
    monkeypatch.setattr(first, "out_of_date", lambda: "/deployed.py")
    yield started
    await started.close()
    assert first._process is not None
    await first._process.wait()
    await asyncio.sleep(0)  # its transport is closed after that


async def end(process: ForkedProcess) -> None:
    """End a child."""
    os.killpg(process.pid, signal.SIGTERM)
    async with asyncio.timeout(90):
        assert await process.wait() == -signal.SIGTERM


async def test_a_run_that_is_being_forked_is_not_waited_for(servers: ForkServers) -> None:
    """The renewal would hold all others up until that run has ended."""
    former = servers.pid
    forking = asyncio.create_task(servers.fork(JOB))
    await asyncio.sleep(0)  # it has asked now

    async with asyncio.timeout(90):
        fresh = await servers.refresh()
        process = await forking

    assert fresh.pid == servers.pid != former
    assert process.returncode is None
    await end(process)


async def test_a_run_that_comes_while_the_server_goes_has_the_next_one(
    servers: ForkServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of a server that has been told the end."""
    former = servers._current
    assert former is not None
    finish, forking = former._finish, []

    async def meanwhile() -> None:
        forking.append(asyncio.create_task(servers.fork(JOB)))
        await finish()

    monkeypatch.setattr(former, "_finish", meanwhile)

    async with asyncio.timeout(90):
        fresh = await servers.refresh()
        process = await forking[0]

    assert fresh.pid == servers.pid != former.pid
    await end(process)
