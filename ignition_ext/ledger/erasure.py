"""Takes a person out of the ledger: what is open is stopped, of what was sent only counts stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Table, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import database_now
from ignition_ext.ledger.fallback_people import remove_number
from ignition_ext.ledger.wishes import FORGOTTEN, NOTE
from ignition_ext.models import (
    CampaignRun,
    CappedMessage,
    FallbackRun,
    Message,
    MessageDue,
    MessageEvent,
    MessageHeld,
    MessagePart,
)
from ignition_ext.values import UNDER_WAY, Channel, MessageState


def _table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


MESSAGES, EVENTS, PARTS = _table(Message), _table(MessageEvent), _table(MessagePart)
RUNS, CAPPED = _table(CampaignRun), _table(CappedMessage)
DUE, HELD = _table(MessageDue), _table(MessageHeld)
FALLBACKS = _table(FallbackRun)
STOPPABLE = (MessageState.PENDING, MessageState.DEFERRED, MessageState.CLAIMED)
OURS = ("pending", "suppressed", "cancelled", "expired")
"""States whose events bear our words; those of others are a server's, which name addresses."""

# No index knows an address alone: each run of the tenant is asked, and what has no run.
_FIND = text(
    "SELECT m.id, m.run_at FROM campaign_run r CROSS JOIN message m"
    " WHERE r.tenant_id = :tenant_id AND m.run_id = r.id"
    " AND m.channel = :channel AND m.address = :address"
    " UNION ALL SELECT m.id, m.run_at FROM message m"
    " WHERE m.run_id IS NULL AND m.tenant_id = :tenant_id"
    " AND m.channel = :channel AND m.address = :address"
).columns(MESSAGES.c.id, MESSAGES.c.run_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What became of a person's messages.

    Attributes:
        ids: those whose address and content are gone.
        stopped: of these, how many were still to be sent.
        on_the_wire: how many are being sent at this moment, and stay as they are.
    """

    ids: Sequence[Any]
    stopped: int
    on_the_wire: int


async def stop_claims(connection: AsyncConnection, tenant_id: int) -> None:
    """Wait for the tenant's claims, snapshots and fallbacks under way; none begins until the end.

    They share or lock the row of their run, and one that falls back its own before that.
    """
    falling = select(FALLBACKS.c.run_id).where(FALLBACKS.c.tenant_id == tenant_id)
    await connection.execute(falling.order_by(FALLBACKS.c.run_id).with_for_update())
    query = select(RUNS.c.id).where(RUNS.c.tenant_id == tenant_id, RUNS.c.state.in_(UNDER_WAY))
    await connection.execute(query.order_by(RUNS.c.id).with_for_update(key_share=True))


async def find_messages(
    connection: AsyncConnection, tenant_id: int, addresses: Mapping[Channel, str]
) -> list[Row[Any]]:
    """Id and ``run_at`` of each message of a tenant to some addresses."""
    found: list[Row[Any]] = []
    for channel, address in addresses.items():
        values = {"tenant_id": tenant_id, "channel": channel.value, "address": address}
        found += (await connection.execute(_FIND, values)).all()
    return found


async def erase(session: AsyncSession, tenant_id: int, addresses: Mapping[Channel, str]) -> Erased:
    """Stop and empty all messages of a tenant to some addresses, in the caller's transaction.

    States, times and codes stay, so that counts do. Claims of the tenant must be stopped.
    """
    connection, now = await session.connection(), await database_now(session)
    ids, stopped, on_the_wire = [], 0, 0
    for found in await find_messages(connection, tenant_id, addresses):
        here = (MESSAGES.c.id == found.id) & (MESSAGES.c.run_at == found.run_at)
        row = (await connection.execute(select(MESSAGES).where(here).with_for_update())).one()
        if row.state == MessageState.SENDING:
            on_the_wire += 1
            continue
        values: dict[str, Any] = {}
        if row.state in STOPPABLE:
            values = await stop(connection, row, now, NOTE)
            stopped += 1
        await connection.execute(
            update(MESSAGES).where(here).values(**_emptied(row), **(values or {"detail": NOTE}))
        )
        await _empty_words(connection, found.id)
        ids.append(found.id)
    if (number := addresses.get(Channel.SMS)) is not None:
        await remove_number(connection, tenant_id, number)
    for channel, address in addresses.items():
        await connection.execute(
            delete(CAPPED).where(
                CAPPED.c.tenant_id == tenant_id,
                CAPPED.c.channel == channel.value,
                CAPPED.c.address == address,
            )
        )
    return Erased(ids=ids, stopped=stopped, on_the_wire=on_the_wire)


async def stop(
    connection: AsyncConnection, row: Row[Any], now: datetime, detail: str
) -> dict[str, Any]:
    """Note that an open message, which is locked, ends; returns what changes in its own row."""
    await connection.execute(
        insert(EVENTS).values(
            message_id=row.id,
            seq=row.seq + 1,
            run_at=row.run_at,
            tenant_id=row.tenant_id,
            at=now,
            old_state=row.state,
            new_state=MessageState.SUPPRESSED.value,
            attempt=row.attempts,
            code="",
            detail=detail,
        )
    )
    for waiting in (DUE, HELD):
        await connection.execute(
            delete(waiting).where(waiting.c.run_id == row.run_id, waiting.c.id == row.id)
        )
    return {
        "state": MessageState.SUPPRESSED.value,
        "seq": row.seq + 1,
        "lease_id": None,
        "detail": detail,
        "updated_at": now,
    }


def _emptied(row: Row[Any]) -> dict[str, Any]:
    return {
        # A run knows an address once, so each needs one of its own.
        "address": f"{FORGOTTEN}{row.id.hex}",
        "domain": row.domain if row.channel == Channel.SMS else "",
        "recipient_id": None,
        "idempotency_key": None,
        "locale": None,
        "timezone": None,
        "data": {},
    }


async def _empty_words(connection: AsyncConnection, key: Any) -> None:
    """Servers repeat the address in what they say."""
    theirs = EVENTS.c.message_id == key, EVENTS.c.new_state.not_in(OURS)
    await connection.execute(update(EVENTS).where(*theirs).values(detail=""))
    await connection.execute(update(PARTS).where(PARTS.c.message_id == key).values(detail=""))
