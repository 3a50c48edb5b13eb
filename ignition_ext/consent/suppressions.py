"""The suppression list: addresses that a tenant must not write to, each with the reason.

The ledger asks it at every claim. Changes come in batches, one row of the audit log for each: how
many, why and by whom, without the addresses (ADR 0007).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import Table, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.consent.addresses import normalised
from ignition_ext.consent.forgotten import let_in
from ignition_ext.ledger.withdrawal import withdraw
from ignition_ext.models import Suppression
from ignition_ext.models.types import utc_now
from ignition_ext.values import Channel

SUPPRESSIONS: Table = SQLModel.metadata.tables[str(Suppression.__tablename__)]
CHUNK = 1000
"""Rows in one statement: times seven columns, below SQLite's 32,766 parameters."""
MOST_NAMED = 20
"""Keys of rows that the audit log names: enough to follow a person's own case, short in bulk."""
DETAIL_LENGTH, ACTOR_LENGTH = 500, 200
"""The columns' lengths; longer text is cut, for no suppression may fail over its own words."""


class SuppressionReason(StrEnum):
    """Why an address is not written to any more."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    OPT_OUT = "opt_out"
    MANUAL = "manual"
    IMPORTED = "imported"


async def suppress(
    session: AsyncSession,
    *,
    tenant_id: int,
    channel: Channel,
    addresses: Sequence[str],
    reason: SuppressionReason,
    detail: str,
    actor: str,
) -> int:
    """Put addresses on a tenant's suppression list; returns how many are new on it.

    Those that stand there already stay as they are, with their first reason. Addresses are
    spelled as audiences spell them; what nothing can be sent to is passed over. Messages that
    senders hold and have not put on the wire are suppressed at once. One row of the audit log
    tells of all; it comes last, so do nothing long after it in the transaction.

    Args:
        session: of ``Database.write()``.
        tenant_id: whose list.
        channel: that they are not written to on any more.
        addresses: email addresses or telephone numbers.
        reason: why.
        detail: in more words, for the list; also in the audit log, addresses marked.
        actor: who, as in the audit log.
    """
    wanted = await normalised(session, tenant_id, channel, addresses)
    insert = postgresql.insert if is_postgres(session) else sqlite.insert
    now, added, withdrawn = utc_now(), list[int](), 0
    for chunk in chunks(wanted):
        rows = [
            {
                "tenant_id": tenant_id,
                "channel": channel.value,
                "address": address,
                "reason": reason.value,
                "detail": detail[:DETAIL_LENGTH],
                "actor": actor[:ACTOR_LENGTH],
                "created_at": now,
            }
            for address in chunk
        ]
        statement = (
            insert(SUPPRESSIONS)
            .values(rows)
            .on_conflict_do_nothing(index_elements=["tenant_id", "channel", "address"])
            .returning(SUPPRESSIONS.c.id, SUPPRESSIONS.c.address)
        )
        fresh = (await (await session.connection()).execute(statement)).all()
        added += [row.id for row in fresh]
        withdrawn += await withdraw(
            session,
            tenant_id=tenant_id,
            channel=channel,
            addresses=[row.address for row in fresh],
            detail=f"on the suppression list: {reason.value}",
        )
    if added:
        await audit.record(
            session,
            tenant_id=tenant_id,
            actor=actor,
            action="suppression.added",
            subject=f"suppression:{channel.value}",
            after=_told(added, reason=reason.value, detail=detail, withdrawn=withdrawn),
        )
    return len(added)


async def lift(
    session: AsyncSession,
    *,
    tenant_id: int,
    channel: Channel,
    addresses: Sequence[str],
    actor: str,
    detail: str,
    only_reason: SuppressionReason | None = None,
) -> int:
    """Take addresses off a tenant's suppression list; returns how many stood on it.

    One that was forgotten, and stands there by its hash only, comes off it as well.

    Args:
        session: of ``Database.write()``.
        tenant_id: whose list.
        channel: that they may be written to on again.
        addresses: email addresses or telephone numbers.
        actor: who, as in the audit log.
        detail: why; in the audit log, addresses marked.
        only_reason: leave those that stand there for another one.
    """
    wanted = await normalised(session, tenant_id, channel, addresses)
    removed, was_known = list[int](), set[str]()
    for chunk in chunks(wanted):
        statement = delete(SUPPRESSIONS).where(
            SUPPRESSIONS.c.tenant_id == tenant_id,
            SUPPRESSIONS.c.channel == channel.value,
            SUPPRESSIONS.c.address.in_(chunk),
        )
        if only_reason is not None:
            statement = statement.where(SUPPRESSIONS.c.reason == only_reason.value)
        returning = statement.returning(SUPPRESSIONS.c.id, SUPPRESSIONS.c.address)
        for key, address in await (await session.connection()).execute(returning):
            removed.append(key)
            was_known.add(address)
        was_known |= await let_in(session, tenant_id, channel, chunk, only_reason)
    if was_known:
        await audit.record(
            session,
            tenant_id=tenant_id,
            actor=actor,
            action="suppression.removed",
            subject=f"suppression:{channel.value}",
            before=_told(
                removed,
                forgotten=len(was_known) - len(removed),
                only_reason=only_reason and only_reason.value,
            ),
            after={"detail": detail},
        )
    return len(was_known)


def _told(keys: Sequence[int], **words: Any) -> dict[str, Any]:
    """What the audit log says: how many rows, which where they are few, and why."""
    named = {"rows": sorted(keys)} if len(keys) <= MOST_NAMED else {}
    return {"count": len(keys), **named, **{key: word for key, word in words.items() if word}}


async def suppressed_among(
    session: AsyncSession, tenant_id: int, channel: Channel, addresses: Sequence[str]
) -> set[str]:
    """Those of the addresses that stand on a tenant's suppression list.

    Who was forgotten stands on none: ask ``forgotten`` too where that matters.
    """
    found: set[str] = set()
    for some in chunks(addresses):
        query = select(Suppression.address).where(
            Suppression.tenant_id == tenant_id,
            Suppression.channel == channel.value,
            col(Suppression.address).in_(some),
        )
        found.update(await session.exec(query))
    return found


def chunks(addresses: Sequence[str]) -> list[list[str]]:
    """The addresses in portions that one statement takes."""
    rest = iter(addresses)
    return list(iter(lambda: list(islice(rest, CHUNK)), []))


def is_postgres(session: AsyncSession) -> bool:
    """Whether the session is on PostgreSQL; else it is on SQLite."""
    return session.get_bind().dialect.name == "postgresql"
