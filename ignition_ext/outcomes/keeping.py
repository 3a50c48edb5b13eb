"""Removes what was told, or can no longer be."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Table, delete, select

from ignition_ext.database import Database, database_now
from ignition_ext.outcomes.tables import DELIVERIES, OUTBOX

CHUNK = 5000
"""Rows that one transaction removes: over in well under a second, so that nobody waits long."""


async def remove_old(database: Database, *, days: float) -> int:
    """Remove events and deliveries older than so many days; returns how many rows."""
    async with database.read() as session:
        before = _first_key(await database_now(session) - timedelta(days=days))
    total = 0
    for table in (OUTBOX, DELIVERIES):
        while removed := await _remove(database, table, before):
            total += removed
            if removed < CHUNK:
                break
    return total


async def _remove(database: Database, table: Table, before: UUID) -> int:
    old = select(table.c.id).where(table.c.id < before).limit(CHUNK)
    async with database.read() as session:
        if (await (await session.connection()).execute(old.limit(1))).first() is None:
            return 0
    async with database.write() as session:
        connection = await session.connection()
        return (await connection.execute(delete(table).where(table.c.id.in_(old)))).rowcount


def _first_key(moment: datetime) -> UUID:
    """The least key that was made at this time: keys begin with their millisecond."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
