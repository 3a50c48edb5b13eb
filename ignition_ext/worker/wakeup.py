"""Polls at once when the server tells that a flow run of the pool became due, or a slot is free.

The WebSocket of Prefect's events is the short way; polling stays, at Prefect's own interval, for
all that no event tells of, and for the time while the WebSocket is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.logging import get_logger

STATES = ("Scheduled", "AwaitingRetry", "Late", "Resuming")
"""Names of the states from which a worker takes a run."""
GAP_SECONDS = 0.1
"""Between two polls that events ask for: a thousand runs made at once are a few polls."""
RECONNECT_SECONDS = 5.0
"""Before the WebSocket is tried again; Prefect's subscriber has tried for some seconds itself."""
logger = get_logger("ignition.worker")


class WakeUp:
    """Calls ``poll`` soon after it is woken; many wakes are one call.

    Args:
        poll: asks the server for runs that are due.
    """

    def __init__(self, poll: Callable[[], Awaitable[object]]) -> None:
        self._poll = poll
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, pool_id: UUID) -> None:
        """Begin, once the pool is known; again is nothing."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._answer()),
                asyncio.create_task(self._listen(pool_id)),
            ]

    def wake(self) -> None:
        """Have the server asked soon."""
        self._woken.set()

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._poll()
            except httpx.HTTPError:  # the polling loop says it, and counts them
                pass
            except Exception:  # without this task runs would wait for the polling loop alone
                logger.exception("Runs that are due could not be begun.")
            await asyncio.sleep(GAP_SECONDS)

    async def _listen(self, pool_id: UUID) -> None:
        names = [f"prefect.flow-run.{state}" for state in STATES]
        while True:
            wanted = EventFilter(
                event=EventNameFilter(name=names),
                any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{pool_id}"]),
            )
            try:
                async with get_events_subscriber(
                    filter=wanted, reconnect_on_clean_close=True
                ) as events:
                    self.wake()  # for what was told while nobody listened
                    async for _ in events:
                        self.wake()
            except Exception as error:
                logger.debug("No events from the server, only polling: %r", error)
            await asyncio.sleep(RECONNECT_SECONDS)
