"""What is shared by the binds of one delivery: the messages to come, segmented and encoded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from ignition_ext.channels.smpp.message import SmsEnvelope, SmsInFlight
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.prepare import References, prepare

_SLICE = 16
"""Messages prepared in one turn of the loop: about a millisecond, rendering included, that
answers have to wait for."""
_ROUNDS = 6
"""Rounds of the loop for which a reader stands back that was waiting for room: a turn that was
begun with the messages just taken is on its way to the database then, which works beside us."""


class Intake:
    """Reads ahead of the binds, so that a message is ready to be written when a place comes free.

    It holds as many messages as two full windows of all binds at most, and reads again when one
    window's worth is left.
    """

    def __init__(
        self, options: SmppOptions, references: References, wake: Callable[[], None]
    ) -> None:
        self._options, self._references, self._wake = options, references, wake
        self._enough = options.window * options.binds
        self._held: deque[SmsInFlight] = deque()
        self._room = asyncio.Event()
        self.is_exhausted = False

    def __len__(self) -> int:
        """How many messages are to be had right now."""
        return len(self._held)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left and nothing more will come."""
        return self.is_exhausted and not self._held

    def take(self, count: int) -> list[SmsInFlight]:
        """Up to ``count`` messages, without waiting."""
        held = self._held
        taken = [held.popleft() for _ in range(min(count, len(held)))]
        if len(held) <= self._enough:
            self._room.set()
        if taken and self.is_over:
            # Binds that are still being opened are not wanted any more.
            asyncio.get_running_loop().call_soon(self._wake)
        return taken

    async def fill(self, envelopes: AsyncIterator[SmsEnvelope]) -> None:
        """Read until the source ends; run as a task, cancelled on a stop."""
        order = 0
        async for envelope in envelopes:
            order += 1
            content = prepare(envelope, self._options, self._references)
            self._held.append(SmsInFlight(envelope.message_id, content, order))
            if len(self._held) == 1:
                self._wake()
            if len(self._held) >= 2 * self._enough:
                self._room.clear()
                await self._room.wait()
                for _ in range(_ROUNDS):
                    await asyncio.sleep(0)
            elif order % _SLICE == 0:
                self._wake()
                await asyncio.sleep(0)
        self.is_exhausted = True
        self._wake()
