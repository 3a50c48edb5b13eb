import asyncio
import contextvars
import threading

import pytest

from ignition_ext.delivery.thread import run_apart

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


async def test_work_runs_in_a_loop_of_its_own_and_hands_back_its_result() -> None:
    """Neither thread nor loop is the caller's; its context variables are."""
    colour.set("blue")

    async def work(stop: asyncio.Event) -> tuple[int, asyncio.AbstractEventLoop, str]:
        return threading.get_ident(), asyncio.get_running_loop(), colour.get()

    thread, loop, seen = await run_apart(work)

    assert thread != threading.get_ident()
    assert loop is not asyncio.get_running_loop()
    assert seen == "blue"


async def test_an_error_of_the_work_is_the_callers() -> None:
    """It is neither wrapped nor lost."""

    async def work(stop: asyncio.Event) -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        await run_apart(work)


async def test_a_cancelled_caller_waits_until_the_work_has_drained() -> None:
    """What is on the wire is settled before the cancellation goes on."""
    begun, steps = threading.Event(), list[str]()

    async def work(stop: asyncio.Event) -> None:
        begun.set()
        await stop.wait()
        steps.append("stopped")
        await asyncio.sleep(0.05)  # stands for the replies that are still awaited
        steps.append("drained")

    caller = asyncio.create_task(run_apart(work))
    assert await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert steps == ["stopped", "drained"]


async def test_the_caller_can_look_on_while_the_work_goes_on() -> None:
    """Progress is shown from the caller's loop."""
    ticks = 0
    enough = threading.Event()

    async def tick() -> bool:
        nonlocal ticks
        ticks += 1
        if ticks == 2:
            enough.set()
        return True

    async def work(stop: asyncio.Event) -> bool:
        return await asyncio.to_thread(enough.wait, 10)

    assert await run_apart(work, on_tick=tick)
    assert ticks >= 2


async def test_the_caller_can_end_the_work_early() -> None:
    """The work is asked to stop, and its result still counts."""

    async def tick() -> bool:
        return False

    async def work(stop: asyncio.Event) -> str:
        await stop.wait()
        return "drained"

    assert await run_apart(work, on_tick=tick) == "drained"
