"""The ledger on PostgreSQL: COPY for snapshots, SKIP LOCKED for claims, unnest for batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy.exc import OperationalError

from ignition_ext.errors import DatabaseError
from ignition_ext.ledger.accounts import SqlLedger
from ignition_ext.ledger.contract import ClaimedMessage, NewMessage
from ignition_ext.ledger.ids import ordered_ids
from ignition_ext.ledger.rows import document
from ignition_ext.ledger.statements import load_statements
from ignition_ext.ledger.work import Row, Work
from ignition_ext.values import Channel, LeaseId, MessageId, MessageState, RunRef

_STATEMENTS: Mapping[str, bytes] = {
    name: text.encode()
    for name, text in load_statements("message.postgresql.sql", "part.postgresql.sql").items()
}


class PostgresWork(Work):
    """A transaction on a psycopg connection, which begins it with its first statement."""

    def __init__(self, connection: psycopg.AsyncConnection[Row]) -> None:
        self._connection = connection

    async def fetch(self, name: str, /, **parameters: Any) -> list[Row]:
        cursor = await self._connection.execute(_STATEMENTS[name], parameters)
        return await cursor.fetchall() if cursor.description else []

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]], /) -> int:
        if not rows:
            return 0
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        return (await self._connection.execute(_STATEMENTS[name], columns)).rowcount

    def uuid(self, value: Any) -> UUID:
        assert isinstance(value, UUID)
        return value

    def time(self, value: Any) -> datetime:
        assert isinstance(value, datetime)
        return value

    async def share_bind(self, bind: str) -> None:
        await self.fetch("share_bind", bind=bind)

    async def lock_bind(self, bind: str) -> None:
        await self.fetch("lock_bind", bind=bind)

    async def add_messages(
        self, run: RunRef, messages: Sequence[NewMessage], room: int | None
    ) -> int:
        await self.fetch("create_stage")
        ids = ordered_ids(len(messages))
        async with (
            self._connection.cursor() as cursor,
            cursor.copy(_STATEMENTS["copy_stage"]) as copy,
        ):
            for place, (key, message) in enumerate(zip(ids, messages, strict=True)):
                await copy.write_row(
                    (
                        place,
                        key,
                        message.recipient_id,
                        message.channel.value,
                        message.address,
                        message.domain,
                        message.locale,
                        message.timezone,
                        document(message.data),
                        message.not_before,
                    )
                )
        ((added,),) = await self.fetch(
            "add_staged", run_id=run.id, run_at=run.run_at, tenant_id=run.tenant_id, room=room
        )
        return int(added)

    async def claim_due(
        self, run: RunRef, lease: LeaseId, duration: timedelta, limit: int
    ) -> tuple[list[ClaimedMessage], int]:
        rows = await self.fetch(
            "claim_due",
            run_id=run.id,
            run_at=run.run_at,
            lease_id=lease,
            lease=duration,
            limit=limit,
        )
        claimed = [
            ClaimedMessage(
                id=MessageId(row[0]),
                channel=Channel(row[1]),
                address=row[2],
                domain=row[3],
                locale=row[4],
                timezone=row[5],
                attempts=row[6],
                data=row[7],
            )
            for row in rows
            if row[8] == MessageState.CLAIMED
        ]
        return claimed, len(rows)

    async def intend(
        self, run: RunRef, lease: LeaseId, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        rows = await self.fetch(
            "intend", run_id=run.id, run_at=run.run_at, lease_id=lease, ids=list(ids)
        )
        return frozenset(MessageId(row[0]) for row in rows)

    async def renew(self, run: RunRef, lease: LeaseId, duration: timedelta) -> None:
        await self.fetch("renew", run_id=run.id, run_at=run.run_at, lease_id=lease, lease=duration)


class PostgresLedger(SqlLedger):
    """The ledger on PostgreSQL."""

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresWork]:
        """A transaction: committed at the end, rolled back on any error."""
        try:
            async with self._database.driver() as connection:
                try:
                    yield PostgresWork(connection)
                    await connection.commit()
                except BaseException:
                    if not connection.closed:
                        await connection.rollback()
                    raise
        # The pool, which connects, wraps the driver's error.
        except (psycopg.OperationalError, OperationalError) as error:
            raise DatabaseError(
                f"the database {self._database.url!r} failed: {getattr(error, 'orig', error)}",
                mend="Check that the server runs; what was not stored is tried again.",
            ) from error

    @asynccontextmanager
    async def look(self) -> AsyncIterator[PostgresWork]:
        """A transaction that only reads."""
        async with self.begin() as work:
            yield work
