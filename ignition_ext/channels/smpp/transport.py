"""The SMS transport: what the rest of Ignition uses of SMPP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.connect import SmscOffer, open_session
from ignition_ext.channels.smpp.delivery import DeliveryRun
from ignition_ext.channels.smpp.desk import Inbox, ReceiptDesk, Store
from ignition_ext.channels.smpp.message import Part, SmsEnvelope
from ignition_ext.channels.smpp.options import BindType, SmppOptions
from ignition_ext.channels.smpp.prepare import References
from ignition_ext.channels.smpp.session import Answer, Session
from ignition_ext.channels.smpp.slot import Slot, no_limit
from ignition_ext.channels.transport import Journal
from ignition_ext.errors import ConfigurationError


class SmppTransport:
    """Sends SMS through the binds of one SMSC account, and takes its receipts meanwhile.

    Args:
        options: where and how.
        on_receipts: stores receipts; only when it returned they are acknowledged. Without it the
            SMSC is told to keep them.
        receipt_linger: seconds to stay bound for receipts after the last answer, counted anew
            with each receipt; 0 to unbind at once.
        slot: entered for each bind before it is opened, left when it is closed.
        on_incoming: where texts from handsets go, acknowledged as receipts are.
    """

    def __init__(
        self,
        options: SmppOptions,
        on_receipts: Store | None = None,
        receipt_linger: float = 0,
        slot: Slot = no_limit,
        on_incoming: Inbox | None = None,
    ) -> None:
        self.options, self._slot = options, slot
        self._on_receipts, self._linger = on_receipts, receipt_linger
        self._on_incoming = on_incoming
        self._references = References(wide=options.wide_reference)

    @property
    def bind_name(self) -> str:
        """``host:port/system_id``: what receipts and parts are filed under."""
        return self.options.bind_name

    async def deliver(
        self,
        envelopes: AsyncIterator[SmsEnvelope],
        journal: Journal,
        stop: asyncio.Event,
    ) -> None:
        """Send until ``envelopes`` ends or ``stop`` is set.

        See :class:`ignition_ext.channels.transport.Transport`. A cancelled call settles what is
        unanswered as uncertain before it ends.
        """
        if self.options.bind is BindType.RECEIVER:
            raise ConfigurationError(
                f"The bind to {self.options.server} is a receiver and cannot send.",
                mend="Set the block's bind to transceiver or transmitter.",
            )
        linger = self._linger if self._on_receipts and self._hears else 0.0
        desk = ReceiptDesk(self.options, self._on_receipts, self._on_incoming)
        run = DeliveryRun(self.options, journal, self._references, desk, self._slot, linger)
        await run.run(envelopes, stop)

    async def check(self) -> SmscOffer:
        """Bind and unbind without sending; what the SMSC says of itself.

        Raises:
            ChannelError: as :func:`ignition_ext.channels.smpp.connect.open_session`.
        """
        async with self._slot():
            session, offer = await open_session(self.options, _Deaf())
            await session.close()
        return offer

    @property
    def _hears(self) -> bool:
        return self.options.bind is BindType.TRANSCEIVER


class _Deaf:
    """Listens to a session that only asks."""

    def answered(self, answers: Sequence[Answer]) -> None:
        """Nothing was sent."""

    def lost(self, part: Part, reason: str, *, unsent: bool) -> None:
        """Nothing was sent."""

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Leave receipts to the binds that can store them."""
        session.respond(header, codec.RECEIVER_TEMPORARY_ERROR)

    def changed(self) -> None:
        """Nobody waits for room."""
