"""Takes delivery receipts from a bind into the ledger, and lists those that match nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.smpp import SmppReceipt
from ignition_ext.ledger.contract import Ledger, SmsReceipt
from ignition_ext.models import Receipt
from ignition_ext.values import Channel

RECEIPT_LINGER_SECONDS = 3.0
"""How long the last batch keeps its bind open for receipts: most come within a second or two.
Later ones are the SMSC's to keep; they come with the next bind."""


def receipts_into(ledger: Ledger) -> Callable[[Sequence[SmppReceipt]], Awaitable[None]]:
    """The callback of an SMS transport that stores what comes, matched or not."""

    async def receive(receipts: Sequence[SmppReceipt]) -> None:
        await ledger.receive([_stored(receipt) for receipt in receipts])

    return receive


async def unmatched_receipts(
    session: AsyncSession, *, bind: str | None, since: datetime | None, limit: int
) -> Sequence[Receipt]:
    """The newest receipts that have found no message yet, newest first."""
    query = select(Receipt).where(
        col(Receipt.message_id).is_(None), Receipt.channel == Channel.SMS.value
    )
    if bind is not None:
        query = query.where(Receipt.bind == bind)
    if since is not None:
        query = query.where(Receipt.received_at >= since)
    query = query.order_by(col(Receipt.received_at).desc(), col(Receipt.id).desc()).limit(limit)
    return (await session.exec(query)).all()


def _stored(receipt: SmppReceipt) -> SmsReceipt:
    return SmsReceipt(
        bind=receipt.bind,
        provider_id=receipt.provider_id,
        state=receipt.state,
        status=receipt.status,
        code=receipt.code,
        destination=receipt.destination,
        raw=receipt.raw,
        id_format=str(receipt.id_format),
    )
