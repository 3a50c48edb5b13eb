"""Makes envelopes out of claimed messages: rendered when a connection asks for one, not before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from ignition_ext.channels.transport import Journal
from ignition_ext.errors import TemplateError
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Delivery, FailureClass, Outcome, OutcomeKind

EnvelopeT = TypeVar("EnvelopeT")
EnvelopeT_co = TypeVar("EnvelopeT_co", covariant=True)

Take = Callable[[], Awaitable[ClaimedMessage | None]]
"""The next claimed message; None when there is none."""

DETAIL_LENGTH = 500
"""What a message's ``detail`` column holds."""


class Workshop(Protocol[EnvelopeT_co]):
    """Turns one claimed message into what a transport takes."""

    def build(self, message: ClaimedMessage) -> EnvelopeT_co:
        """Render and compose one message.

        Raises:
            TemplateError: it cannot be rendered for this recipient.
            ValueError: its address or a header cannot be put on the wire.
        """
        ...


class EnvelopeFeed(AsyncIterator[EnvelopeT], Generic[EnvelopeT]):
    """The envelopes of a batch, each built when it is asked for; several may ask at once.

    A message that cannot be built is settled as failed, and does not disturb the others.
    """

    def __init__(
        self,
        take: Take,
        workshop: Workshop[EnvelopeT],
        journal: Journal,
        stopped: Callable[[], bool],
    ) -> None:
        self._take = take
        self._workshop = workshop
        self._journal = journal
        self._stopped = stopped

    async def __anext__(self) -> EnvelopeT:
        while not self._stopped():
            message = await self._take()
            if message is None:
                break
            try:
                return self._workshop.build(message)
            except TemplateError as error:
                await refuse(self._journal, message, FailureClass.RENDER, str(error))
            except ValueError as error:
                await refuse(self._journal, message, FailureClass.ADDRESS, str(error))
        raise StopAsyncIteration


async def refuse(
    journal: Journal, message: ClaimedMessage, failure_class: FailureClass, text: str
) -> None:
    """Settle a message that cannot be built as failed."""
    outcome = Outcome(
        kind=OutcomeKind.REJECTED, failure_class=failure_class, text=text[:DETAIL_LENGTH]
    )
    await journal.settle([Delivery(message_id=message.id, outcome=outcome)])
