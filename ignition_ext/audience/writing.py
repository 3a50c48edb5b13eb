"""How recipients get into their table fast: COPY on PostgreSQL, batched inserts on SQLite.

Each batch is a transaction of its own under a generation that nobody reads yet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ignition_ext.database import Database
from ignition_ext.values import Recipient

DELETE_ROWS = 5000
"""Rows of an old import deleted at once: short enough that senders' writes pass in between."""

_SQLITE_INSERT = """
INSERT INTO recipient
    (tenant_id, audience_id, generation, email, phone, locale, timezone, external_id, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (audience_id, generation, email, phone) DO NOTHING
"""
_POSTGRES_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS recipient_stage (
    position integer, email text, phone text, locale text, timezone text, external_id text,
    data jsonb
) ON COMMIT DELETE ROWS
"""
_POSTGRES_COPY = """
COPY recipient_stage (position, email, phone, locale, timezone, external_id, data) FROM STDIN
"""
_POSTGRES_INSERT = """
INSERT INTO recipient
    (tenant_id, audience_id, generation, email, phone, locale, timezone, external_id, data)
SELECT %s, %s, %s, email, phone, locale, timezone, external_id, data
FROM recipient_stage
ORDER BY position
ON CONFLICT (audience_id, generation, email, phone) DO NOTHING
"""
_SQLITE_DELETE = """
DELETE FROM recipient WHERE id IN (
    SELECT id FROM recipient
    WHERE audience_id = ? AND generation >= ? AND generation < ? LIMIT ?
)
"""
# Two imports that end at once delete the same rows of a third; neither waits for the other.
_POSTGRES_DELETE = """
DELETE FROM recipient WHERE id IN (
    SELECT id FROM recipient
    WHERE audience_id = %s AND generation >= %s AND generation < %s LIMIT %s
    FOR UPDATE SKIP LOCKED
)
"""


def _fields(recipient: Recipient) -> tuple[str | None, ...]:
    return (
        recipient.email or "",
        recipient.phone or "",
        recipient.locale,
        recipient.timezone,
        recipient.external_id,
        json.dumps(dict(recipient.data), ensure_ascii=False),
    )


async def add_recipients(
    database: Database,
    key: tuple[int, int, int],
    recipients: Sequence[Recipient],
) -> int:
    """Store one batch; returns how many were new in their generation.

    Args:
        key: tenant, audience and generation.
    """
    async with database.driver() as connection:
        if database.dialect == "postgresql":
            return await _copy(connection, key, recipients)
        return await _execute_sqlite(
            connection, _SQLITE_INSERT, [(*key, *_fields(recipient)) for recipient in recipients]
        )


async def _copy(connection: Any, key: tuple[int, int, int], recipients: Sequence[Recipient]) -> int:
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(_POSTGRES_STAGE)
        async with cursor.copy(_POSTGRES_COPY) as copy:
            for position, recipient in enumerate(recipients):
                await copy.write_row((position, *_fields(recipient)))
        await cursor.execute(_POSTGRES_INSERT, key)
        added: int = cursor.rowcount
    return added


async def _execute_sqlite(connection: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    await connection.execute("BEGIN IMMEDIATE")
    try:
        cursor = await connection.executemany(statement, rows)
        changed: int = cursor.rowcount
        await cursor.close()
    except BaseException:
        await connection.rollback()
        raise
    await connection.commit()
    return changed


async def delete_generations(
    database: Database, audience_id: int, *, first: int = 0, below: int
) -> None:
    """Delete the rows of imports ``first`` up to, not with, ``below``, in short transactions."""
    parameters = (audience_id, first, below, DELETE_ROWS)
    async with database.driver() as connection:
        while True:
            if database.dialect == "postgresql":
                async with connection.transaction(), connection.cursor() as cursor:
                    await cursor.execute(_POSTGRES_DELETE, parameters)
                    deleted = cursor.rowcount
            else:
                deleted = await _execute_sqlite(connection, _SQLITE_DELETE, [parameters])
            if deleted < DELETE_ROWS:
                return
