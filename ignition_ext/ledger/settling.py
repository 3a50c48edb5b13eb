"""Turns outcomes into states: the usual ones in one statement, the others by the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ignition_ext.ledger import rules, segments
from ignition_ext.ledger.accepted import Accepted, columns
from ignition_ext.ledger.contract import RetryPolicy
from ignition_ext.ledger.rows import Change
from ignition_ext.ledger.work import Work
from ignition_ext.values import (
    Delivery,
    LeaseId,
    MessageId,
    MessageState,
    OutcomeKind,
    RunRef,
)

Settled = tuple[dict[MessageId, MessageState], frozenset[MessageId]]
"""The new states of what was told, and what may go out next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What is the same for all results of a call; ``ids`` are to be intended with them."""

    run: RunRef
    lease: LeaseId
    ids: Sequence[MessageId]
    retry: RetryPolicy
    bind: str


async def settle_most(
    work: Work, turn: Turn, usual: Sequence[Delivery], others: Sequence[Delivery]
) -> Settled:
    """Settle the usual results at once, the others one by one, and intend what comes next.

    Raises:
        NotHeldError: one of the usual is late; nothing of the transaction may be stored.
    """
    accepted, ids = columns(usual), () if others else turn.ids
    states = dict.fromkeys(accepted.ids, MessageState.SENT)
    if accepted.parts is not None:
        told: set[UUID] = set(accepted.ids)
        granted, is_early = await work.turn_parts(turn.run, turn.lease, turn.bind, accepted, ids)
        if is_early:
            names = accepted.parts.provider_ids
            states.update(await segments.match_early(work, turn.bind, names, told))
    else:
        if any(delivery.parts for delivery in others):
            await work.share_bind(turn.bind)
        granted = await work.turn(turn.run, turn.lease, accepted, ids)
    if others:
        rest, granted = await _settle_others(work, turn, others)
        states.update(rest)
    return states, granted


async def settle_each(work: Work, turn: Turn, deliveries: Sequence[Delivery]) -> Settled:
    """Settle each result by the rules, whatever became of its message meanwhile."""
    if any(delivery.parts for delivery in deliveries):
        await work.share_bind(turn.bind)
    return await _settle_others(work, turn, deliveries)


async def _settle_others(work: Work, turn: Turn, deliveries: Sequence[Delivery]) -> Settled:
    by_id = {delivery.message_id: delivery for delivery in deliveries}
    held = await work.lock("lock_ids", ids=sorted(by_id))
    states = {MessageId(row.id): row.state for row in held}
    changes: list[Change] = []
    for row in held:
        delivery = by_id[MessageId(row.id)]
        change = rules.settled(row, delivery, turn.retry, own=row.lease_id == turn.lease)
        if change is not None:
            changes.append(change)
            states[MessageId(row.id)] = change.state
    await work.apply(changes)
    stored = [delivery for delivery in deliveries if _keeps_parts(delivery)]
    if stored:
        rows = {row.id: row for row in held}
        states.update(await segments.store(work, turn.run, turn.bind, stored, rows))
    if not turn.ids:
        return states, frozenset()
    return states, await work.turn(turn.run, turn.lease, Accepted(), turn.ids)


def _keeps_parts(delivery: Delivery) -> bool:
    """Segments are kept once something went out; where nothing did, the next attempt makes them."""
    gone = (OutcomeKind.ACCEPTED, OutcomeKind.REJECTED, OutcomeKind.UNCERTAIN)
    return any(part.outcome.kind in gone for part in delivery.parts)
