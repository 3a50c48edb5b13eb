"""What a transport and its caller owe each other; both channels keep to it.

A transport turns envelopes into replies. It knows neither Prefect nor the database: it tells a
:class:`Journal` what it is about to do and what came of it.

The order for each message is fixed, because exact accounting hangs on it:

1. ``await journal.intend([id, …])`` **before** its first byte may be written. Ids missing from
   the answer must not be sent (cancelled meanwhile, or the lease was lost).
2. the conversation with the server,
3. ``await journal.settle([Delivery, …])`` exactly once for each intended message: ``ACCEPTED``,
   ``DEFERRED``, ``REJECTED``, ``UNSENT`` when the link was lost before the last byte was handed
   to the socket, ``UNCERTAIN`` when it was lost after that and before the reply.

Intents are taken in groups as small as what is about to be written, so that a killed sender
leaves at most ``2 × connections`` (email) or ``binds × window`` (SMS) messages uncertain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeVar

from ignition_ext.values import Delivery, MessageId

EnvelopeT_contra = TypeVar("EnvelopeT_contra", contravariant=True)


class Journal(Protocol):
    """Where a transport writes down what it does; concurrent callers are grouped behind it."""

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Record that bytes of these may be on the wire from now on; returns those that may go."""
        ...

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Record what came of them; when it returns, it is stored."""
        ...

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Settle some and intend others at once, in one transaction where the store has them.

        What a sender at full speed calls: a connection that has a reply wants its next message.
        Where the results cannot be stored nothing is intended.
        """
        ...


class Transport(Protocol[EnvelopeT_contra]):
    """A way to hand messages of one channel to one server."""

    async def deliver(
        self,
        envelopes: AsyncIterator[EnvelopeT_contra],
        journal: Journal,
        stop: asyncio.Event,
    ) -> None:
        """Send until ``envelopes`` ends or ``stop`` is set.

        Returns when each intended message is settled. After ``stop`` nothing new is intended,
        replies to what is on the wire are awaited within the transport's drain time, and what is
        unanswered then is settled as uncertain. Envelopes that were taken but not intended stay
        claimed: the caller returns them.

        Raises:
            ChannelError: the server refuses us as a whole (no connection, login refused, MAIL or
                bind refused for reasons of configuration); everything intended is settled first.
        """
        ...
