"""Takes receipts from the binds, has them stored, and only then acknowledges them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from ignition_ext.channels.smpp import codec, packed
from ignition_ext.channels.smpp.options import ReceiptIdFormat, SmppOptions
from ignition_ext.channels.smpp.receipt import (
    SmppReceipt,
    comparable,
    is_receipt,
    read_receipt,
    receipt_ids,
)
from ignition_ext.channels.smpp.session import Session

logger = logging.getLogger(__name__)

Store = Callable[[Sequence[SmppReceipt]], Awaitable[None]]
"""Stores receipts; when it returns they are safe. It may see a receipt twice."""

_MOST_EARLY = 10_000
"""Receipts that came before their response, and those of other runs: only the first matter here,
and those are few. Forgetting them costs a wait, never a receipt."""

_BATCH = 500
"""Receipts stored together at most; the SMSC waits for its answers meanwhile."""


class ReceiptDesk:
    """Stores receipts in batches, in the order they came, and answers them.

    Without a ``store``, and when it fails, the answer is 0x64 (temporary error): the SMSC keeps
    the receipt. The same goes for messages from handsets, which nobody here can store.
    """

    def __init__(self, options: SmppOptions, store: Store | None) -> None:
        self._options, self._store = options, store
        self._waiting: list[tuple[Session, codec.Header, SmppReceipt]] = []
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.awaited = Awaited(options.receipt_id_format)

    def take(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Queue a deliver_sm or data_sm, or refuse it at once."""
        try:
            is_data = header.command == codec.DATA_SM
            deliver = codec.read_data(pdu) if is_data else packed.read_deliver(pdu)
        except codec.Malformed as error:
            logger.warning("Malformed deliver_sm from %s: %s", self._options.server, error)
            session.respond(header, codec.INVALID_COMMAND_LENGTH)
            return
        if self._store is None or not is_receipt(deliver):
            session.respond(header, codec.RECEIVER_TEMPORARY_ERROR)
            return
        receipt = read_receipt(
            deliver,
            bind=self._options.bind_name,
            alphabet=self._options.default_alphabet,
            id_format=self._options.receipt_id_format,
        )
        self._waiting.append((session, header, receipt))
        self._idle.clear()
        self._some.set()

    async def run(self) -> None:
        """Store and answer until cancelled."""
        while True:
            await self._some.wait()
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if not self._waiting:
                self._some.clear()
            await self._handle(batch)
            if not self._waiting:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing that came is unanswered."""
        await self._idle.wait()

    async def _handle(self, batch: list[tuple[Session, codec.Header, SmppReceipt]]) -> None:
        assert self._store is not None
        status = codec.OK
        try:
            await self._store([receipt for _, _, receipt in batch])
        except Exception:
            # Whatever kept it from being stored: the SMSC shall keep it and try again.
            logger.exception("%d receipts could not be stored, the SMSC keeps them", len(batch))
            status = codec.RECEIVER_TEMPORARY_ERROR
        for session, header, receipt in batch:
            session.respond(header, status)
            if status == codec.OK:
                self.awaited.received(receipt)


class Awaited:
    """Parts that were accepted and whose final receipt has not come, to know when to unbind."""

    def __init__(self, id_format: ReceiptIdFormat) -> None:
        self._format = id_format
        self._by_receipt: dict[str, str] = {}
        self._open: set[str] = set()
        self._early: set[str] = set()
        self.changed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many final receipts are still to come."""
        return len(self._open)

    def accepted(self, provider_id: str) -> None:
        """A part was accepted; its receipt may have come before."""
        if not provider_id:
            return
        ids = {comparable(one) for one in receipt_ids(provider_id, self._format)}
        if not self._early.isdisjoint(ids):
            self._early -= ids
            return
        self._open.add(provider_id)
        self._by_receipt.update(dict.fromkeys(ids, provider_id))

    def received(self, receipt: SmppReceipt) -> None:
        """A receipt was stored."""
        if receipt.final:
            key = comparable(receipt.provider_id)
            provider_id = self._by_receipt.get(key)
            if provider_id is None:
                if len(self._early) >= _MOST_EARLY:
                    self._early.clear()
                self._early.add(key)
            else:
                self._open.discard(provider_id)
        self.changed.set()
