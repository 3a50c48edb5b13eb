"""A channel without a server: every message is taken at once. What is left is Ignition itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from ignition_ext.channels.transport import Journal
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind, PartOutcome

EnvelopeT = TypeVar("EnvelopeT")


class NullTransport(Generic[EnvelopeT]):
    """Takes every envelope as a server would that answers in no time.

    Args:
        lanes: how many work side by side, each with one message on its wire: connections.
        key: the message's id in an envelope.
        has_parts: SMS, of which the ledger keeps the segments.
    """

    def __init__(
        self, lanes: int, key: Callable[[EnvelopeT], MessageId], *, has_parts: bool
    ) -> None:
        self._lanes, self._key, self._has_parts = lanes, key, has_parts

    async def deliver(
        self, envelopes: AsyncIterator[EnvelopeT], journal: Journal, stop: asyncio.Event
    ) -> None:
        """Journal each message as a connection at full speed does: settle one, intend the next."""

        async def work() -> None:
            done: tuple[Delivery, ...] = ()
            while not stop.is_set():
                envelope = await anext(envelopes, None)
                if envelope is None:
                    break
                granted = await journal.turn(done, [self._key(envelope)])
                done = tuple(self._taken(key) for key in granted)
            await journal.settle(done)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._lanes):
                group.create_task(work())

    def _taken(self, key: MessageId) -> Delivery:
        outcome = Outcome(kind=OutcomeKind.ACCEPTED, code="250", provider_id=key.hex[:12])
        parts = (PartOutcome(part=1, parts=1, outcome=outcome),) if self._has_parts else ()
        return Delivery(message_id=key, outcome=outcome, parts=parts)
