"""The SMTP channel as its callers see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ignition_ext.channels.smtp.connection import connect
from ignition_ext.channels.smtp.delivery import SmtpDelivery
from ignition_ext.channels.smtp.options import EmailEnvelope, ServerOffer, SmtpOptions
from ignition_ext.channels.transport import Journal


class SmtpTransport:
    """Hands email to one server over persistent connections.

    A :class:`ignition_ext.channels.transport.Transport`; may be used by one ``deliver`` at a time
    or several, each opens its own connections.
    """

    def __init__(self, options: SmtpOptions) -> None:
        self.options = options

    async def deliver(
        self,
        envelopes: AsyncIterator[EmailEnvelope],
        journal: Journal,
        stop: asyncio.Event,
    ) -> None:
        """Send until ``envelopes`` ends or ``stop`` is set; see the protocol for the order.

        When the task is cancelled, what was intended is still settled before the cancellation
        goes on.

        Raises:
            AuthenticationFailed: the login is wrong; tried once, no message judged.
            ConnectFailed: not reachable, or TLS not trusted, after ``reconnect_attempts``.
            Throttled: the server kept asking to come back later.
            ProtocolViolation: what answers is not SMTP.
            ChannelError: the server refuses our sender address or machine.
        """
        await SmtpDelivery(self.options, envelopes, journal).run(stop)

    async def check(self) -> ServerOffer:
        """Connect, EHLO, STARTTLS, AUTH, QUIT: everything but a message.

        Raises:
            ChannelError: as :meth:`deliver` does, at the first try.
        """
        session = await connect(self.options, asyncio.Lock())
        await session.wire.quit()
        return session.offer
