"""Segments of SMS and their receipts: stored, matched both ways, and what they make of messages.

Whichever comes first waits for the other: a receipt without its segment stays unmatched until
:func:`store` brings it, a segment without its receipt is found by :func:`receive`. Every change
of a segment happens under the lock of its message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from ignition_ext.ledger import receipts as rules
from ignition_ext.ledger.contract import SmsReceipt
from ignition_ext.ledger.provider_ids import lookup_keys
from ignition_ext.ledger.rows import (
    CODE_LENGTH,
    ID_LENGTH,
    Change,
    Held,
    PartRow,
    ReceiptRow,
    clean,
)
from ignition_ext.ledger.work import Work, part_key
from ignition_ext.values import (
    Delivery,
    MessageId,
    MessageState,
    OutcomeKind,
    PartOutcome,
    RunRef,
    new_id,
)

_BIND_LENGTH, _ADDRESS_LENGTH, _STATUS_LENGTH, _RAW_LENGTH = 200, 320, 20, 1000
_Match = tuple[ReceiptRow, PartRow]


async def store(
    work: Work,
    run: RunRef,
    bind: str,
    deliveries: Sequence[Delivery],
    held: Mapping[UUID, Held],
) -> dict[MessageId, MessageState]:
    """Store the segments of settled messages and the receipts that were there before them.

    Returns:
        The new states of messages that such an early receipt moved on.
    """
    rows: list[PartRow] = []
    words: list[tuple[str, str]] = []
    for delivery in deliveries:
        if delivery.message_id not in held:
            continue
        for part in delivery.parts:
            state = _part_state(part)
            if state is not None:
                rows.append(_part_row(run, bind, delivery.message_id, part, state))
                words.append((part.outcome.code, part.outcome.text))
    await work.add_parts(rows, words)
    return await match_early(work, bind, [row.provider_id for row in rows], held.keys())


async def match_early(
    work: Work, bind: str, provider_ids: Sequence[str], ids: Collection[UUID]
) -> dict[MessageId, MessageState]:
    """Find the receipts that came before these segments, which are stored now.

    Only segments of these messages are looked at: others that bear a used-up id are not locked
    here.

    Returns:
        The new states of messages that such an early receipt moved on.
    """
    named = [name for name in provider_ids if name]
    if not named or not await work.has_receipts(bind):
        return {}
    keys = {key for name in named for key in _keys(name)}
    waiting = await work.find_receipts({bind}, keys)
    if not waiting:
        return {}
    found = await work.find_parts({bind}, {part_key(name) for name in named})
    matches = _matches(waiting, [part for part in found if part.message_id in ids])
    await _note(work, matches)
    return await _apply(work, matches)


async def receive(work: Work, receipts: Sequence[SmsReceipt]) -> int:
    """Store receipts and carry out what they tell; returns how many found their segment."""
    for bind in sorted({receipt.bind for receipt in receipts}):
        await work.lock_bind(bind)
    rows = [_receipt_row(receipt) for receipt in receipts]
    named = [row for row in rows if row.provider_id]
    parts = await work.find_parts(
        {row.bind for row in named}, {key for row in named for key in _keys(row.provider_id)}
    )
    matches = _matches(named, parts)
    found = {receipt.id: part for receipt, part in matches}
    await work.write(
        "add_receipts",
        [
            _columns(row, clean(receipt.raw, _RAW_LENGTH), found.get(row.id))
            for row, receipt in zip(rows, receipts, strict=True)
        ],
    )
    await _apply(work, matches)
    return len(matches)


def _columns(row: ReceiptRow, raw: str, part: PartRow | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "bind": row.bind,
        "provider_id": row.provider_id,
        "provider_key": part_key(row.provider_id),
        "id_format": row.id_format,
        "destination": row.destination,
        "status": row.status,
        "code": row.code,
        "state": row.state.value if row.state else None,
        "raw": raw,
        "message_id": part.message_id if part else None,
        "part": part.part if part else None,
        "run_at": part.run_at if part else None,
        "tenant_id": part.tenant_id if part else None,
    }


async def match_waiting(
    work: Work, *, bind: str, after: UUID, limit: int, id_format: str | None
) -> tuple[int, UUID, bool]:
    """Look again for the segments of receipts that have none, in the order they came.

    Returns:
        How many found theirs, the last receipt looked at, and whether there may be more.
    """
    await work.lock_bind(bind)
    waiting = await work.waiting_receipts(bind, after, limit)
    if not waiting:
        return 0, after, False
    if id_format is not None:
        waiting = [replace(row, id_format=id_format) for row in waiting]
    parts = await work.find_parts(
        {bind}, {key for row in waiting for key in _keys(row.provider_id)}
    )
    matches = _matches(waiting, parts)
    await _note(work, matches)
    await _apply(work, matches)
    return len(matches), waiting[-1].id, len(waiting) == limit


def _matches(waiting: Sequence[ReceiptRow], parts: Sequence[PartRow]) -> list[_Match]:
    by_key: dict[str, list[PartRow]] = {}
    for part in parts:
        by_key.setdefault(part.provider_key, []).append(part)
    matches = []
    for receipt in waiting:
        fitting = [
            part for key in sorted(_keys(receipt.provider_id)) for part in by_key.get(key, ())
        ]
        best = rules.best_part(receipt, fitting)
        if best is not None:
            matches.append((receipt, best))
    return matches


async def _note(work: Work, matches: Sequence[_Match]) -> None:
    """Write to receipts that waited which segments they are of."""
    await work.write(
        "match_receipts",
        [
            {
                "id": receipt.id,
                "message_id": part.message_id,
                "part": part.part,
                "run_at": part.run_at,
                "tenant_id": part.tenant_id,
            }
            for receipt, part in matches
        ],
    )


async def _apply(work: Work, matches: Sequence[_Match]) -> dict[MessageId, MessageState]:
    """Carry out what receipts tell of the segments that they are of."""
    if not matches:
        return {}
    ids = sorted({part.message_id for _, part in matches})
    held = {row.id: row for row in await work.lock("lock_ids", ids=ids)}
    states = await work.part_states(ids)
    news = [
        (receipt, part, new)
        for receipt, part in matches
        if (new := _tell(states[part.message_id], part.part, receipt)) is not None
    ]
    await work.write(
        "settle_parts",
        [
            {
                "message_id": part.message_id,
                "part": part.part,
                "run_at": part.run_at,
                "state": new.value,
                "code": receipt.code,
                "detail": f"receipt {receipt.status}",
            }
            for receipt, part, new in news
        ],
    )
    changes: dict[UUID, Change] = {}
    for receipt, part, _ in news:
        key = part.message_id
        change = rules.message_after(held[key], list(states[key].values()), receipt, part.part)
        if change is not None and key not in changes:
            changes[key] = change
    await work.apply(list(changes.values()))
    return {MessageId(key): change.state for key, change in changes.items()}


def _tell(states: dict[int, MessageState], part: int, receipt: ReceiptRow) -> MessageState | None:
    """Note a receipt in the states of a message's segments; what it changed, or None."""
    new = rules.part_after(states[part], receipt.state)
    if new is not None:
        states[part] = new
    return new


def _part_state(part: PartOutcome) -> MessageState | None:
    match part.outcome.kind:
        case OutcomeKind.ACCEPTED:
            return MessageState.SENT
        case OutcomeKind.REJECTED | OutcomeKind.DEFERRED:
            return MessageState.FAILED
        case OutcomeKind.UNCERTAIN:
            return MessageState.UNCERTAIN
        case OutcomeKind.UNSENT:
            return None


def _part_row(
    run: RunRef, bind: str, message_id: UUID, part: PartOutcome, state: MessageState
) -> PartRow:
    provider_id = clean(part.outcome.provider_id, ID_LENGTH)
    return PartRow(
        message_id=message_id,
        run_at=run.run_at,
        tenant_id=run.tenant_id,
        part=part.part,
        parts=part.parts,
        bind=clean(bind, _BIND_LENGTH),
        provider_id=provider_id,
        provider_key=part_key(provider_id) if provider_id else "",
        state=state,
        address="",
    )


def _receipt_row(receipt: SmsReceipt) -> ReceiptRow:
    return ReceiptRow(
        id=new_id(),
        bind=clean(receipt.bind, _BIND_LENGTH),
        provider_id=clean(receipt.provider_id, ID_LENGTH),
        id_format=receipt.id_format,
        destination=clean(receipt.destination, _ADDRESS_LENGTH),
        state=receipt.state,
        status=clean(receipt.status, _STATUS_LENGTH),
        code=clean(receipt.code, CODE_LENGTH),
    )


@lru_cache(maxsize=4096)
def _keys(provider_id: str) -> frozenset[str]:
    """Asked for twice by each receipt of a batch."""
    return frozenset(key[:ID_LENGTH] for key in lookup_keys(provider_id))
