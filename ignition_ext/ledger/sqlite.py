"""The ledger on SQLite: one write transaction a batch, whole batches as JSON or executemany."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import aiosqlite

from ignition_ext.errors import DatabaseError
from ignition_ext.ledger.accounts import SqlLedger
from ignition_ext.ledger.contract import ClaimedMessage, NewMessage
from ignition_ext.ledger.ids import ordered_ids
from ignition_ext.ledger.rows import document
from ignition_ext.ledger.statements import load_statements
from ignition_ext.ledger.work import Row, Work
from ignition_ext.values import Channel, LeaseId, MessageId, RunRef

_STATEMENTS = load_statements("message.sqlite.sql", "part.sqlite.sql")
_TIME = "%Y-%m-%d %H:%M:%S.%f"


def stored(value: Any) -> Any:
    """A value as SQLite's columns hold it: keys as 32 hex digits, times as text in UTC."""
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.astimezone(UTC).strftime(_TIME)
        case timedelta():
            return value.total_seconds()
        case Enum():
            return value.value
        case list() | tuple():
            return json.dumps([stored(item) for item in value])
        case _:
            return value


class SqliteWork(Work):
    """A transaction on an aiosqlite connection, begun with the write lock."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.connection = connection

    async def fetch(self, name: str, /, **parameters: Any) -> list[Row]:
        values = {key: stored(value) for key, value in parameters.items()}
        rows = await self.connection.execute_fetchall(_STATEMENTS[name], values)
        return [tuple(row) for row in rows]

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]], /) -> int:
        if not rows:
            return 0
        values = [{key: stored(value) for key, value in row.items()} for row in rows]
        async with self.connection.executemany(_STATEMENTS[name], values) as cursor:
            return cursor.rowcount

    def uuid(self, value: Any) -> UUID:
        return UUID(hex=value)

    def time(self, value: Any) -> datetime:
        return datetime.strptime(value, _TIME).replace(tzinfo=UTC)

    async def share_bind(self, bind: str) -> None:
        """Nothing to do: there is one writer at a time."""

    async def lock_bind(self, bind: str) -> None:
        """Nothing to do: there is one writer at a time."""

    async def add_messages(
        self, run: RunRef, messages: Sequence[NewMessage], room: int | None
    ) -> int:
        new = {(message.channel.value, message.address): message for message in reversed(messages)}
        for channel in {message.channel for message in messages}:
            known = await self.fetch(
                "find_known",
                run_id=run.id,
                run_at=run.run_at,
                channel=channel,
                addresses=[address for kind, address in new if kind == channel],
            )
            for kind, address in known:
                del new[kind, address]
        # The mapping was filled backwards, so that the first of two equal addresses stays.
        fresh = list(reversed(new.values()))[:room]
        ids = ordered_ids(len(fresh))
        added = await self.write(
            "add_message",
            [
                {
                    "id": key,
                    "run_at": run.run_at,
                    "tenant_id": run.tenant_id,
                    "run_id": run.id,
                    "recipient_id": message.recipient_id,
                    "channel": message.channel,
                    "address": message.address,
                    "domain": message.domain,
                    "locale": message.locale,
                    "timezone": message.timezone,
                    "data": document(message.data),
                    "not_before": message.not_before,
                }
                for key, message in zip(ids, fresh, strict=True)
            ],
        )
        await self.fetch("note_added", ids=ids, run_at=run.run_at)
        return added

    async def claim_due(
        self, run: RunRef, lease: LeaseId, duration: timedelta, limit: int
    ) -> tuple[list[ClaimedMessage], int]:
        due = await self.fetch("find_due", run_id=run.id, run_at=run.run_at, limit=limit)
        claimed = [row for row in due if not row[8]]
        barred = [row[0] for row in due if row[8]]
        ids = [row[0] for row in claimed]
        if ids:
            await self.fetch("note_change", ids=ids, run_at=run.run_at, state="claimed")
            await self.fetch("claim", ids=ids, run_at=run.run_at, lease_id=lease, lease=duration)
        if barred:
            await self.fetch("note_suppressed", ids=barred, run_at=run.run_at)
            await self.fetch("suppress", ids=barred, run_at=run.run_at)
        messages = [
            ClaimedMessage(
                id=MessageId(self.uuid(row[0])),
                channel=Channel(row[1]),
                address=row[2],
                domain=row[3],
                locale=row[4],
                timezone=row[5],
                attempts=row[6],
                data=json.loads(row[7]),
            )
            for row in claimed
        ]
        return messages, len(due)

    async def intend(
        self, run: RunRef, lease: LeaseId, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        rows = await self.fetch(
            "find_intendable", ids=list(ids), run_id=run.id, run_at=run.run_at, lease_id=lease
        )
        held = [row[0] for row in rows]
        if held:
            await self.fetch("note_change", ids=held, run_at=run.run_at, state="sending")
            await self.fetch("intend", ids=held, run_at=run.run_at, lease_id=lease)
        return frozenset(MessageId(self.uuid(key)) for key in held)

    async def renew(self, run: RunRef, lease: LeaseId, duration: timedelta) -> None:
        await self.fetch("renew", run_id=run.id, run_at=run.run_at, lease_id=lease, lease=duration)


class SqliteLedger(SqlLedger):
    """The ledger on SQLite."""

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqliteWork]:
        """A transaction with the write lock: committed at the end, rolled back on any error."""
        async with self.look() as work, self._transaction(work):
            yield work

    @asynccontextmanager
    async def _transaction(self, work: SqliteWork) -> AsyncIterator[None]:
        connection = work.connection
        try:
            await connection.execute("BEGIN IMMEDIATE")
            yield
            await connection.commit()
        except BaseException:
            # Waits in the driver's queue for what was cancelled, and does nothing without a
            # transaction: no lock outlives this block.
            await connection.rollback()
            raise

    @asynccontextmanager
    async def look(self) -> AsyncIterator[SqliteWork]:
        """A connection that only reads, without a lock."""
        async with self._database.driver() as connection:
            try:
                yield SqliteWork(connection)
            except sqlite3.OperationalError as error:
                raise DatabaseError(
                    f"the database {self._database.url!r} failed: {error}",
                    mend="Check its disk, and that no other program keeps it locked.",
                ) from error
