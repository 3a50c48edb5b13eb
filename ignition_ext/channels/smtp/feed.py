"""Envelopes from one source to several connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from ignition_ext.channels.smtp.options import EmailEnvelope


class Feed:
    """Reads a little ahead; an envelope that a connection could not use goes to another one.

    ``ahead`` is kept small: what is read and not sent has to be composed again.
    """

    def __init__(self, source: AsyncIterator[EmailEnvelope], ahead: int) -> None:
        self._ready: deque[EmailEnvelope] = deque()
        self._ahead = ahead
        self._changed = asyncio.Event()
        self._ended = self._closed = False
        self._held = 0
        self.error: Exception | None = None
        self.pump = asyncio.create_task(self._read(source))

    async def take(self) -> EmailEnvelope | None:
        """The next envelope, to be followed by ``finish``; None when there will be none.

        As long as another connection holds one there may be: it may give it back.
        """
        while not self._ready:
            if self._closed or (self._ended and not self._held):
                return None
            await self._change()
        self._held += 1
        self._changed.set()
        return self._ready.popleft()

    def finish(self) -> None:
        """A connection is done with the envelope that it took."""
        self._held -= 1
        self._changed.set()

    def give_back(self, envelope: EmailEnvelope) -> None:
        """Return an envelope that was taken and not intended."""
        if self._closed:
            return
        self._ready.appendleft(envelope)
        self._changed.set()

    async def until_drained(self, seconds: float) -> None:
        """Wait so long, or until nothing is left and nothing will come."""
        try:
            async with asyncio.timeout(seconds):
                while self._ready or not self._ended:
                    await self._change()
        except TimeoutError:
            return

    def close(self) -> None:
        """Stop reading and forget what was read ahead; who waits gets None."""
        self._ready.clear()
        self._ended = self._closed = True
        self.pump.cancel()
        self._changed.set()

    async def _change(self) -> None:
        # Between the caller's look and this line nothing else runs, so no change is missed.
        self._changed.clear()
        await self._changed.wait()

    async def _read(self, source: AsyncIterator[EmailEnvelope]) -> None:
        try:
            async for envelope in source:
                while len(self._ready) >= self._ahead:
                    await self._change()
                self._ready.append(envelope)
                self._changed.set()
        except Exception as error:
            self.error = error
        finally:
            self._ended = True
            self._changed.set()
