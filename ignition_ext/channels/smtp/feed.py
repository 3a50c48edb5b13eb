"""Envelopes from one source to several connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from ignition_ext.channels.smtp.options import EmailEnvelope


class Feed:
    """Reads a little ahead; an envelope that a connection could not use goes to another one.

    ``ahead`` is kept small: what is read and not sent has to be composed again. The source is
    asked again when half of it is used up, so that its task is not woken for each envelope.
    """

    def __init__(self, source: AsyncIterator[EmailEnvelope], ahead: int) -> None:
        self._ready: deque[EmailEnvelope] = deque()
        self._ahead = ahead
        self._takers: deque[asyncio.Future[None]] = deque()
        self._room = asyncio.Event()
        self._drained = asyncio.Event()
        self._ended = self._closed = False
        self._held = 0
        self.error: Exception | None = None
        self.pump = asyncio.create_task(self._read(source))

    def take_now(self) -> EmailEnvelope | None:
        """The next envelope if there is one at hand, to be followed by ``finish``."""
        if not self._ready:
            return None
        envelope = self._ready.popleft()
        self._held += 1
        if len(self._ready) <= self._ahead // 2:
            self._room.set()
            self._note_drained()
        return envelope

    async def take(self) -> EmailEnvelope | None:
        """The next envelope, to be followed by ``finish``; None when there will be none.

        As long as another connection holds one there may be: it may give it back.
        """
        while (envelope := self.take_now()) is None:
            if self._closed or (self._ended and not self._held):
                return None
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            await taker
        return envelope

    def finish(self) -> None:
        """A connection is done with the envelope that it took."""
        self._held -= 1
        if self._ended and not self._held:
            self._wake_all()

    def give_back(self, envelope: EmailEnvelope) -> None:
        """Return an envelope that was taken and not intended."""
        if self._closed:
            return
        self._ready.appendleft(envelope)
        self._wake_one()

    async def until_drained(self, seconds: float) -> None:
        """Wait so long, or until nothing is left and nothing will come."""
        self._drained.clear()
        self._note_drained()
        try:
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Stop reading and forget what was read ahead; who waits gets None."""
        self._ready.clear()
        self._ended = self._closed = True
        self.pump.cancel()
        self._note_drained()
        self._wake_all()

    def _wake_one(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._takers:
            self._wake_one()

    def _note_drained(self) -> None:
        if self._ended and not self._ready:
            self._drained.set()

    async def _read(self, source: AsyncIterator[EmailEnvelope]) -> None:
        try:
            async for envelope in source:
                while len(self._ready) >= self._ahead:
                    self._room.clear()
                    await self._room.wait()
                self._ready.append(envelope)
                self._wake_one()
        except Exception as error:
            self.error = error
        finally:
            self._ended = True
            self._note_drained()
            if not self._held:
                self._wake_all()
