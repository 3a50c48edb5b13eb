"""What is shared by the binds of one delivery: the messages to come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from ignition_ext.channels.smpp.message import SmsEnvelope


class Intake:
    """Reads ahead of the binds, by no more than ``limit`` messages."""

    def __init__(self, limit: int, wake: Callable[[], None]) -> None:
        self._limit, self._wake = limit, wake
        self._held: deque[SmsEnvelope] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self.is_exhausted = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be had right now."""
        return not self._held

    def take(self, count: int) -> list[SmsEnvelope]:
        """Up to ``count`` messages, without waiting."""
        taken = [self._held.popleft() for _ in range(min(count, len(self._held)))]
        if taken:
            self._room.set()
        return taken

    async def fill(self, envelopes: AsyncIterator[SmsEnvelope]) -> None:
        """Read until the source ends; run as a task, cancelled on a stop."""
        async for envelope in envelopes:
            self._held.append(envelope)
            self._wake()
            if len(self._held) >= self._limit:
                self._room.clear()
                await self._room.wait()
        self.is_exhausted = True
        self._wake()
