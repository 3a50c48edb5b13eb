"""Gives a server that is away the time that Prefect's worker gives it, however often ours asks.

Prefect's polling loop ends the worker after twelve failures in a row, and with it all its runs. It
pauses between them for its interval, twice that after three failures, four times after six, and so
on. With 10 s these are seven minutes; with the 0.5 s of ``ignition worker start`` twenty seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from prefect.settings import get_current_settings

USUAL_SECONDS = 10.0
"""Prefect's own interval, for which its loop's count of failures is meant: an upgrade of the server
or a failover of its database takes minutes."""
CONSECUTIVE = 3
"""Failures after which Prefect's loop doubles its pauses; the same there."""


class Patience:
    """Lets the polling loop fail no faster than it would at Prefect's own interval.

    Args:
        stop: set when the worker is to stop; nobody waits then.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop, self._answered = stop, asyncio.Event()
        self._failures = 0

    @asynccontextmanager
    async def with_server(self) -> AsyncIterator[None]:
        """Around one turn of the polling loop: after a failure the next one begins later."""
        if self._failures:
            await self._pause()
        try:
            yield
        except httpx.HTTPError as error:
            if _is_outage(error):
                self._failures += 1
                self._answered.clear()
            raise
        self._failures = 0

    def answered(self) -> None:
        """The server has answered, whoever asked: the loop may ask again at once."""
        self._answered.set()

    async def _pause(self) -> None:
        """What is missing from the pause that the loop has made by itself."""
        missing = max(USUAL_SECONDS - get_current_settings().worker.query_seconds, 0.0)
        ends = [asyncio.create_task(end.wait()) for end in (self._stop, self._answered)]
        try:
            await asyncio.wait(
                ends,
                timeout=missing * 2 ** (self._failures // CONSECUTIVE),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for end in ends:
                end.cancel()


def _is_outage(error: httpx.HTTPError) -> bool:
    """Whether Prefect's loop counts it; other errors end the worker at once."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)
