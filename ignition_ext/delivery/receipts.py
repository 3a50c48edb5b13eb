"""Takes delivery receipts from a bind into the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ignition_ext.channels.smpp import SmppReceipt
from ignition_ext.ledger.contract import Ledger, SmsReceipt

RECEIPT_LINGER_SECONDS = 3.0
"""How long the last batch keeps its bind open for receipts: most come within a second or two.
Later ones are the SMSC's to keep; they come with the next bind."""


def receipts_into(ledger: Ledger) -> Callable[[Sequence[SmppReceipt]], Awaitable[None]]:
    """The callback of an SMS transport that stores what comes, matched or not."""

    async def receive(receipts: Sequence[SmppReceipt]) -> None:
        await ledger.receive([_stored(receipt) for receipt in receipts])

    return receive


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
