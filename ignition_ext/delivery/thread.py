"""Runs the sending in a thread with an event loop of its own.

Why not in Prefect's loop: on SIGTERM Prefect raises inside the main thread, asyncio then cancels
every task of that loop at once, and with them each open conversation with a server. Behind a
thread the conversations go on, are drained in order, and only then does the cancellation proceed.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

TICK_SECONDS = 0.25
"""How often ``on_tick`` is called while the thread works."""


class Stopper:
    """Sets the ``stop`` event of another thread's loop; may be called before that loop exists."""

    def __init__(self) -> None:
        self._wanted = False
        self._target: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def attach(self, event: asyncio.Event) -> None:
        """Called inside the thread's loop."""
        self._target = (asyncio.get_running_loop(), event)
        if self._wanted:
            event.set()

    def stop(self) -> None:
        """Ask for the end, from any thread; the second time does nothing more."""
        self._wanted = True
        if self._target is not None:
            loop, event = self._target
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


async def run_apart(
    work: Callable[[asyncio.Event], Awaitable[T]],
    *,
    on_tick: Callable[[], Awaitable[bool]] | None = None,
) -> T:
    """Await ``work(stop)`` in a thread of its own; ``on_tick`` runs here meanwhile.

    ``stop`` is set when ``on_tick`` says that the work may not go on.

    When this task is interrupted, ``stop`` is set, the work is awaited to its end, and only then
    is the interruption passed on. The work must end soon after ``stop``.
    """
    stopper = Stopper()

    async def main() -> T:
        stop = asyncio.Event()
        stopper.attach(stop)
        return await work(stop)

    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="ignition-sender") as pool:
        future = asyncio.wrap_future(pool.submit(context.run, asyncio.run, main()))
        try:
            while not (await asyncio.wait({future}, timeout=TICK_SECONDS))[0]:
                if on_tick is not None and not await on_tick():
                    stopper.stop()
        except BaseException:
            stopper.stop()
            await asyncio.wait({future})
            raise
        return future.result()
