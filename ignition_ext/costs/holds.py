"""What became of money that was held for messages whose sender did not say so itself.

The ledger knows: a message that was accepted, or may have been, has cost its money; one that waits
again has not. So a dead sender's money is found to the last segment, and it does no harm to look
while the sender is alive: what is about to be sent keeps its hold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.models import Message, MessageEvent, MessagePart, MoneyHold
from ignition_ext.values import MessageState


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What the ledger says of a message that money is held for.

    Attributes:
        was_sent: whether a server ever accepted it.
        was_uncertain: whether it became so since the money is held: a copy may be out.
        accepted_parts: segments that an SMSC took.
    """

    state: MessageState
    was_sent: bool
    was_uncertain: bool
    accepted_parts: int


def spent_of(hold: MoneyHold, traces: Traces, *, claimed_anew: bool) -> int | None:
    """Millionths that the message has cost; None while that is still open.

    Args:
        claimed_anew: its claim is a later one than that which the money was held for.
    """
    match traces.state:
        case MessageState.SENDING:
            return None
        case MessageState.CLAIMED:
            if not claimed_anew:
                return None
            return hold.micros if traces.was_uncertain else 0
        case (
            MessageState.SENT
            | MessageState.DELIVERED
            | MessageState.BOUNCED
            | MessageState.COMPLAINED
            | MessageState.UNCERTAIN
        ):
            return hold.micros
        case MessageState.FAILED | MessageState.EXPIRED:
            if traces.was_sent or traces.was_uncertain:
                return hold.micros
            return hold.micros * min(traces.accepted_parts, hold.segments) // hold.segments
        case (
            MessageState.PENDING
            | MessageState.DEFERRED
            | MessageState.SUPPRESSED
            | MessageState.CANCELLED
        ):
            return hold.micros if traces.was_uncertain else 0
        case _:
            assert_never(traces.state)


async def find_spent(
    session: AsyncSession, holds: Sequence[MoneyHold], *, claimed_anew: Collection[UUID] = ()
) -> list[tuple[MoneyHold, int]]:
    """The holds whose end the ledger knows, each with what was spent of it.

    Args:
        holds: a few hundred at most.
        claimed_anew: messages of them that the caller has claimed since.
    """
    traces = await _traces(session, holds)
    found = []
    for hold in holds:
        known = traces.get(hold.message_id)
        if known is None:
            found.append((hold, 0))  # its run was deleted: nothing says that it was sent
            continue
        spent = spent_of(hold, known, claimed_anew=hold.message_id in claimed_anew)
        if spent is not None:
            found.append((hold, spent))
    return found


async def _traces(session: AsyncSession, holds: Sequence[MoneyHold]) -> dict[UUID, Traces]:
    ids = [hold.message_id for hold in holds]
    if not ids:
        return {}
    since = {hold.message_id: hold.held_at for hold in holds}
    runs = {hold.run_at for hold in holds}
    messages = select(Message.id, Message.state, Message.sent_at).where(
        col(Message.id).in_(ids), col(Message.run_at).in_(runs)
    )
    events = select(MessageEvent.message_id, func.max(MessageEvent.at)).where(
        col(MessageEvent.message_id).in_(ids),
        MessageEvent.new_state == MessageState.UNCERTAIN.value,
    )
    uncertain: dict[UUID, datetime] = dict(
        (await session.exec(events.group_by(col(MessageEvent.message_id)))).all()
    )
    # An SMSC names what it took; a segment that it refused has no id.
    parts = select(MessagePart.message_id, func.count()).where(
        col(MessagePart.message_id).in_(ids), MessagePart.provider_id != ""
    )
    accepted: dict[UUID, int] = dict(
        (await session.exec(parts.group_by(col(MessagePart.message_id)))).all()
    )
    return {
        key: Traces(
            state=MessageState(state),
            was_sent=sent_at is not None,
            was_uncertain=key in uncertain and uncertain[key] >= since[key],
            accepted_parts=accepted.get(key, 0),
        )
        for key, state, sent_at in await session.exec(messages)
    }
