"""A Prefect server that is away for minutes ends neither the worker nor its runs."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from ignition_ext.worker import patience
from ignition_ext.worker.patience import Patience


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, without making them."""
    made: list[float] = []

    async def wait(tasks: Any, *, timeout: float, return_when: str) -> None:
        made.append(timeout)

    monkeypatch.setattr(patience.asyncio, "wait", wait)
    return made


async def turn(waiting: Patience, error: Exception | None = None) -> None:
    """One turn of the polling loop."""
    async with waiting.with_server():
        if error is not None:
            raise error


async def fail(waiting: Patience, error: Exception, times: int) -> None:
    """Turns that all end with an error."""
    for _ in range(times):
        with pytest.raises(type(error)):
            await turn(waiting, error)


async def test_failures_take_the_time_that_prefects_own_worker_has(
    server: Any, pauses: list[float]
) -> None:
    """Twelve of them end it: with its interval of 10 s after seven minutes."""
    with server.settings():
        await fail(Patience(asyncio.Event()), server.error(500), times=12)

    by_itself = 0.01
    missing = 10 - by_itself
    assert pauses == [missing * factor for factor in (1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8)]


async def test_after_an_answer_the_loop_is_as_quick_as_before(
    server: Any, pauses: list[float]
) -> None:
    """One failure among many answers slows down one turn."""
    waiting = Patience(asyncio.Event())

    await turn(waiting)
    await fail(waiting, httpx.ConnectError("away"), times=1)
    await turn(waiting)
    await turn(waiting)

    assert len(pauses) == 1


async def test_an_error_that_prefect_does_not_bear_is_handed_on(
    server: Any, pauses: list[float]
) -> None:
    """A worker without the right to ask ends at once."""
    waiting = Patience(asyncio.Event())

    await fail(waiting, server.error(401), times=2)

    assert not pauses


@pytest.mark.parametrize("ending", ["a stop", "an answer"])
async def test_a_pause_ends_early(ending: str) -> None:
    """When the worker is to stop, and when the wake-up's look was answered."""
    stop = asyncio.Event()
    waiting = Patience(stop)
    await fail(waiting, httpx.ConnectError("away"), times=1)
    following = asyncio.create_task(turn(waiting))
    await asyncio.sleep(0)

    if ending == "a stop":
        stop.set()
    else:
        waiting.answered()

    async with asyncio.timeout(5):
        await following


async def test_runs_go_on_while_the_server_answers_with_errors(
    server: Any, make_worker: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's loop, which would be through with its failures in a second, is held up by one."""
    worker = make_worker()
    worker.run = runs.run
    server.add()

    def away() -> None:
        server.on_look = here
        server.add()
        raise server.error(500)

    def here() -> None:
        return None

    async with server.working(worker) as working:
        await server.until(lambda: runs.begun)
        server.on_look = away
        await server.until(lambda: server.on_look is here)
        server.looks = 0
        await worker._look()  # as the wake-up does, which is not held up
        assert server.looks == 1
        await server.until(lambda: server.looks > 3)  # nor is the loop any more
        assert not working.done()

    assert len(runs.begun) == 2
