"""Takes receipts and texts from the binds, has them stored, and only then acknowledges them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ignition_ext.channels.smpp import codec, packed
from ignition_ext.channels.smpp.incoming import SmsFragment, read_incoming
from ignition_ext.channels.smpp.options import ReceiptIdFormat, SmppOptions
from ignition_ext.channels.smpp.proof import PROMPT_SECONDS, Proofs
from ignition_ext.channels.smpp.receipt import (
    SmppReceipt,
    comparable,
    is_receipt,
    read_receipt,
    receipt_ids,
)
from ignition_ext.channels.smpp.session import Session
from ignition_ext.errors import DatabaseError

logger = logging.getLogger(__name__)

Store = Callable[[Sequence[SmppReceipt]], Awaitable[None]]
"""Stores receipts; when it returns they are safe. It may see a receipt twice."""


class Inbox(Protocol):
    """Where texts from handsets go, or parts of such."""

    async def store(self, fragments: Sequence[SmsFragment], /) -> None:
        """Store them; when it returns they are safe. It may see one twice."""
        ...

    async def acknowledged(self, fragments: Sequence[SmsFragment], /) -> None:
        """The SMSC knows that they were stored, and brings them no more."""
        ...


class _Waiting(NamedTuple):
    """What came and has no answer yet; ``at`` is when, by the loop's clock."""

    session: Session
    header: codec.Header
    item: SmppReceipt | SmsFragment
    at: float


_MOST_EARLY = 10_000
"""Receipts that came before their response, and those of other runs: only the first matter here,
and those are few. Forgetting them costs a wait, never a receipt."""

_BATCH = 1000
"""What is stored together at most; the SMSC waits for its answers meanwhile."""
_MOST_WAITING = 20_000
"""Some seconds' worth. An SMSC without a window of its own would fill the memory while the
database is slow; it keeps what is refused."""


class ReceiptDesk:
    """Stores what comes in batches, in the order it came, and answers it.

    Without a ``store`` (an ``inbox`` for texts), and when that fails, the answer is 0x64
    (temporary error): the SMSC keeps what it brought.

    Attributes:
        receipts: how many were stored.
        texts: the same of texts and their parts.
        refused: how many were answered 0x64.
        heard_at: when something came last, by the loop's clock.
    """

    def __init__(self, options: SmppOptions, store: Store | None, inbox: Inbox | None) -> None:
        self._options, self._store, self._inbox = options, store, inbox
        self._proofs = None if inbox is None else Proofs(inbox.acknowledged)
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
        self.awaited = Awaited(options.receipt_id_format)
        self.receipts = self.texts = self.refused = 0
        self.heard_at = asyncio.get_running_loop().time()

    def take(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Queue a deliver_sm or data_sm, or refuse it at once."""
        self.heard_at = asyncio.get_running_loop().time()
        try:
            is_data = header.command == codec.DATA_SM
            deliver = codec.read_data(pdu) if is_data else packed.read_deliver(pdu)
        except codec.Malformed as error:
            logger.warning("Malformed deliver_sm from %s: %s", self._options.server, error)
            session.respond(header, codec.INVALID_COMMAND_LENGTH)
            return
        is_told = is_receipt(deliver)
        is_wanted = (self._store if is_told else self._inbox) is not None
        if not is_wanted or self._is_closed or len(self._waiting) >= _MOST_WAITING:
            self.refused += 1
            session.respond(header, codec.RECEIVER_TEMPORARY_ERROR)
            return
        item = self._read(deliver) if is_told else self._read_text(deliver)
        self._waiting.append(_Waiting(session, header, item, self.heard_at))
        self._idle.clear()
        self._some.set()

    def open(self) -> None:
        """Take what comes; a desk is open when it is made."""
        self._is_closed = False

    def close(self) -> None:
        """Take nothing more; what waits is still stored and answered."""
        self._is_closed = True

    async def run(self) -> None:
        """Store and answer until cancelled."""
        try:
            while True:
                await self._some.wait()
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                if not self._waiting:
                    self._some.clear()
                await self._handle([one for one in batch if isinstance(one.item, SmppReceipt)])
                await self._handle([one for one in batch if isinstance(one.item, SmsFragment)])
                if not self._waiting:
                    self._idle.set()
        finally:
            if self._proofs is not None:
                await self._proofs.close()

    async def drained(self) -> None:
        """Wait until nothing that came is unanswered, and the SMSC has the answers to texts."""
        await self._idle.wait()
        if self._proofs is not None:
            await self._proofs.settled()

    def _read(self, deliver: codec.Deliver) -> SmppReceipt:
        return read_receipt(
            deliver,
            bind=self._options.bind_name,
            alphabet=self._options.default_alphabet,
            id_format=self._options.receipt_id_format,
        )

    def _read_text(self, deliver: codec.Deliver) -> SmsFragment:
        options = self._options
        return read_incoming(deliver, bind=options.bind_name, id_tlv=options.text_id_tlv)

    async def _handle(self, batch: list[_Waiting]) -> None:
        """Store and answer what is of one kind."""
        if not batch:
            return
        try:
            await self._keep([one.item for one in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, DatabaseError):
                # One that cannot be stored must not hold up the others for ever.
                for one in batch:
                    await self._handle([one])
                return
            # Whatever kept it from being stored: the SMSC shall keep it and try again.
            logger.exception("%d could not be stored, the SMSC keeps them", len(batch))
            self._answer(batch, codec.RECEIVER_TEMPORARY_ERROR)
        else:
            self._answer(batch, codec.OK)

    async def _keep(self, items: Sequence[Any]) -> None:
        if isinstance(items[0], SmppReceipt):
            assert self._store is not None
            await self._store(items)
        else:
            assert self._inbox is not None
            await self._inbox.store(items)

    def _answer(self, batch: list[_Waiting], status: int) -> None:
        prompt = asyncio.get_running_loop().time() - PROMPT_SECONDS
        texts: dict[Session, list[SmsFragment]] = {}
        for one in batch:
            one.session.respond(one.header, status)
            if status != codec.OK:
                self.refused += 1
            elif isinstance(one.item, SmppReceipt):
                self.receipts += 1
                self.awaited.received(one.item)
            else:
                self.texts += 1
                if one.at >= prompt:
                    texts.setdefault(one.session, []).append(one.item)
        if self._proofs is not None:
            for session, items in texts.items():
                self._proofs.acknowledged(session, items)


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
