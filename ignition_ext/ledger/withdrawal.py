"""Takes back what senders hold and have not put on the wire, for addresses just suppressed.

The cost is that of the suppression, not of the messages: the intent, which each message passes,
asks nothing more. A claim that is under way at the same instant is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import String, TextualSelect, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import database_now
from ignition_ext.ledger.erasure import MESSAGES, stop
from ignition_ext.models.types import Json
from ignition_ext.values import Channel

# What another transaction holds is being put on the wire: it is passed over, and nobody waits.
_POSTGRESQL = text(
    "SELECT m.id, m.run_at"
    "  FROM sender_lease l"
    "  JOIN message m ON m.id = ANY(l.message_ids) AND m.run_at = l.run_at AND m.lease_id = l.id"
    " WHERE l.tenant_id = :tenant_id AND m.state = 'claimed'"
    "   AND m.channel = :channel AND m.address = ANY(:addresses)"
    "   FOR UPDATE OF m SKIP LOCKED"
)
_SQLITE = text(
    "SELECT m.id, m.run_at"
    "  FROM sender_lease l CROSS JOIN json_each(l.message_ids) c"
    " CROSS JOIN message m ON m.id = c.value AND m.run_at = l.run_at AND m.lease_id = l.id"
    " WHERE l.tenant_id = :tenant_id AND m.state = 'claimed'"
    "   AND m.channel = :channel AND m.address IN (SELECT value FROM json_each(:addresses))"
)


async def withdraw(
    session: AsyncSession,
    *,
    tenant_id: int,
    channel: Channel,
    addresses: Sequence[str],
    detail: str,
) -> int:
    """Suppress claimed messages to some addresses; returns how many.

    Args:
        session: of ``Database.write()``.
        tenant_id: whose runs.
        channel: the addresses'.
        addresses: in the spelling of audiences.
        detail: why, for the message and its event.
    """
    connection, now = await session.connection(), await database_now(session)
    values = {"tenant_id": tenant_id, "channel": channel.value, "addresses": list(addresses)}
    found = (await connection.execute(_find(connection.dialect.name), values)).all()
    for key, run_at in found:
        here = (MESSAGES.c.id == key) & (MESSAGES.c.run_at == run_at)
        row = (await connection.execute(select(MESSAGES).where(here))).one()
        changed = await stop(connection, row, now, detail)
        await connection.execute(update(MESSAGES).where(here).values(**changed))
    return len(found)


def _find(dialect: str) -> TextualSelect:
    columns = MESSAGES.c.id, MESSAGES.c.run_at
    if dialect == "postgresql":
        listed = bindparam("addresses", type_=ARRAY(String))
        return _POSTGRESQL.bindparams(listed).columns(*columns)
    return _SQLITE.bindparams(bindparam("addresses", type_=Json)).columns(*columns)
