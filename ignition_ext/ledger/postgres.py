"""The ledger on PostgreSQL: COPY for snapshots, SKIP LOCKED for claims, unnest for batches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import OperationalError

from ignition_ext.errors import DatabaseError
from ignition_ext.ledger.accepted import Accepted, AcceptedParts, alike
from ignition_ext.ledger.accounts import Body, SqlLedger
from ignition_ext.ledger.contract import CHANNELS, ClaimedMessage, NewMessage
from ignition_ext.ledger.copying import CopyText, copy_text
from ignition_ext.ledger.statements import load_statements
from ignition_ext.ledger.work import NotHeldError, Prepared, Row, Work
from ignition_ext.values import LeaseId, MessageId, RunRef

T = TypeVar("T")
TRIES = 5
"""Two transactions that wait for each other's rows: the server ends one after a second, which
then finds the other's work done. Five times in a row is no accident."""
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # Internal errors to the driver, as are many that are none of the server's being away.
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
"""How a server that is away shows; a primary that became a standby refuses to write."""
_SEPARATOR = "\x1f"
_STATEMENTS: Mapping[str, bytes] = {
    name: text.encode()
    for name, text in load_statements(
        "message.postgresql.sql",
        "lease.postgresql.sql",
        "part.postgresql.sql",
        "wishes.postgresql.sql",
        "held.postgresql.sql",
        "fallback.postgresql.sql",
    ).items()
}


class PostgresWork(Work):
    """A transaction on a psycopg connection; whoever made it ends it.

    Args:
        begins: whether a BEGIN is to go before the first statement, in one round trip where that
            is one of several. Without it each statement is a transaction, unless one is open.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Row], *, begins: bool = False) -> None:
        self._connection, self._begins = connection, begins

    async def fetch(self, name: str, /, **parameters: Any) -> list[Row]:
        cursor = await self._send(name, parameters)
        return await cursor.fetchall() if cursor.description else []

    async def _send(self, name: str, parameters: dict[str, Any]) -> psycopg.AsyncCursor[Row]:
        for key, value in parameters.items():
            if isinstance(value, list) and value and isinstance(value[0], UUID):
                parameters[key] = _keys(value)
        return await self._execute(name, parameters)

    async def _execute(self, name: str, parameters: Mapping[str, Any]) -> psycopg.AsyncCursor[Row]:
        if self._begins:
            self._begins = False
            await self._connection.execute(b"BEGIN")
        return await self._connection.execute(_STATEMENTS[name], parameters)

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]], /) -> int:
        if not rows:
            return 0
        return (await self._execute(name, _arrays(rows))).rowcount

    async def apply_changes(self, rows: Sequence[Mapping[str, Any]]) -> int:
        ((written,),) = await self.fetch("apply_changes", **_arrays(rows))
        return int(written)

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

    async def add_messages(self, run: RunRef, batch: Prepared, room: int | None) -> int:
        lines: CopyText = batch.rows
        if room is None:
            with suppress(psycopg.errors.UniqueViolation):
                # Most snapshots are new and their audiences name nobody twice.
                async with self._connection.transaction():
                    await self._copy("copy_messages", lines.messages, batch.sent)
                    await self._copy("copy_due", lines.due)
                return batch.count
        await self.fetch("create_stage")
        await self._copy("copy_stage", lines.messages, batch.sent)
        if room is not None:
            await self.fetch("cut_stage", run_id=run.id, run_at=run.run_at, room=room)
        ((added,),) = await self.fetch("add_staged")
        return int(added)

    async def _copy(self, name: str, lines: bytes, sent: Callable[[], None] | None = None) -> None:
        async with self._connection.cursor() as cursor, cursor.copy(_STATEMENTS[name]) as copy:
            await copy.write(lines)
            if sent is not None:
                sent()

    async def claim_due(
        self, run: RunRef, lease: LeaseId, limit: int
    ) -> tuple[list[ClaimedMessage], int]:
        rows = await self.fetch(
            "claim_due", run_id=run.id, run_at=run.run_at, lease_id=lease, limit=limit
        )
        barred = [(row[0], row[8]) for row in rows if row[8] is not None]
        if barred:
            await self.fetch(
                "suppress",
                ids=[key for key, _ in barred],
                reasons=[reason for _, reason in barred],
                run_at=run.run_at,
                lease_id=lease,
            )
        claimed = [
            ClaimedMessage(
                id=MessageId(row[0]),
                channel=CHANNELS[row[1]],
                address=row[2],
                domain=row[3],
                locale=row[4],
                timezone=row[5],
                attempts=row[6],
                data=row[7],
            )
            for row in rows
            if row[8] is None
        ]
        return claimed, len(rows)

    async def turn(
        self, run: RunRef, lease: LeaseId, accepted: Accepted, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        try:
            ((_, granted),) = await self.fetch("turn", **_turn_columns(run, lease, accepted, ids))
        except psycopg.errors.DivisionByZero as error:
            raise NotHeldError from error
        return frozenset(ids if granted is None else granted)

    async def turn_parts(
        self,
        run: RunRef,
        lease: LeaseId,
        bind: str,
        accepted: Accepted,
        ids: Sequence[MessageId],
    ) -> tuple[frozenset[MessageId], bool]:
        assert accepted.parts is not None
        try:
            # One round trip: none of them needs to know what the one before came to.
            async with self._connection.pipeline():
                await self._send("share_bind", {"bind": bind})
                turned = await self._send("turn", _turn_columns(run, lease, accepted, ids))
                await self._send("add_accepted_parts", _part_columns(run, bind, accepted.parts))
                early = await self._send("has_receipts", {"bind": bind})
        except psycopg.errors.DivisionByZero as error:
            raise NotHeldError from error
        ((_, granted),) = await turned.fetchall()
        ((is_early,),) = await early.fetchall()
        return frozenset(ids if granted is None else granted), bool(is_early)


async def _let_planner_look(work: Work) -> None:
    """Have the table analysed where its statistics would make each turn read the whole run.

    Autovacuum does so within a minute or two; a campaign would crawl as long. Where a vacuum is
    under way, which may take hours, it is left to that.
    """
    ((is_unknown,),) = await work.fetch("is_unknown")
    if is_unknown:
        await work.fetch("wait_little")
        with suppress(psycopg.errors.LockNotAvailable):
            await work.fetch("analyze")


def _turn_columns(
    run: RunRef, lease: LeaseId, accepted: Accepted, ids: Sequence[MessageId]
) -> dict[str, Any]:
    code, codes = _words(accepted.codes)
    enhanced, enhanceds = _words(accepted.enhanced)
    detail, details = _words(accepted.details)
    return {
        "run_id": run.id,
        "run_at": run.run_at,
        "lease_id": lease,
        "told": _keys(accepted.ids),
        "code": code,
        "codes": codes,
        "enhanced": enhanced,
        "enhanceds": enhanceds,
        "detail": detail,
        "details": details,
        "provider_ids": _joined(accepted.provider_ids),
        "parts": list(accepted.counts),
        "ids": _keys(sorted(ids)),
    }


def _part_columns(run: RunRef, bind: str, parts: AcceptedParts) -> dict[str, Any]:
    code, codes = _words(parts.codes)
    detail, details = _words(parts.details)
    return {
        "run_at": run.run_at,
        "tenant_id": run.tenant_id,
        "bind": bind,
        "message_ids": _keys(parts.message_ids),
        "numbers": parts.numbers,
        "totals": parts.totals,
        "provider_ids": _joined(parts.provider_ids),
        "provider_keys": _joined(parts.provider_keys),
        "code": code,
        "codes": codes,
        "detail": detail,
        "details": details,
    }


def _keys(ids: Sequence[UUID]) -> str:
    """A literal of an array: the server reads it faster than the driver writes one of values."""
    return "{" + ",".join([key.hex for key in ids]) + "}"


def _arrays(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of rows, each as an array; the statements say of what type."""
    return {key: _array([row[key] for row in rows]) for key in rows[0]}


def _array(values: Sequence[Any]) -> Any:
    """The literal of an array: written ten times as fast as by the driver, value by value."""
    match next((value for value in values if value is not None), None):
        case UUID():
            texts = ["NULL" if value is None else value.hex for value in values]
        case bool() | int() | float():
            texts = ["NULL" if value is None else str(value) for value in values]
        case datetime():
            texts = ["NULL" if value is None else f'"{value.isoformat()}"' for value in values]
        case str():
            texts = ["NULL" if value is None else _quoted(value) for value in values]
        case None:
            texts = ["NULL"] * len(values)
        case _:
            return list(values)
    return "{" + ",".join(texts) + "}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _words(values: Sequence[str]) -> tuple[str, str | None]:
    """Texts that are all the same, or what :func:`_joined` makes of them."""
    same = alike(values)
    return ("", _joined(values)) if same is None else (same, None)


def _joined(values: Sequence[str]) -> str:
    """Texts for ``string_to_array``."""
    text = _SEPARATOR.join(values)
    if text.count(_SEPARATOR) >= max(len(values), 1):
        text = _SEPARATOR.join(value.replace(_SEPARATOR, " ") for value in values)
    return text


class PostgresLedger(SqlLedger):
    """The ledger on PostgreSQL."""

    async def transact(self, body: Body[T]) -> T:
        async def whole(connection: psycopg.AsyncConnection[Row]) -> T:
            done = await body(PostgresWork(connection, begins=True))
            if connection.info.transaction_status != TransactionStatus.IDLE:
                await connection.execute(b"COMMIT")
            return done

        return await self._again(whole)

    async def briefly(self, body: Body[T], *, rows: int, alone: bool) -> T:
        if not alone:
            return await self.transact(body)
        # A statement without BEGIN commits itself: one round trip.
        return await self._again(lambda connection: body(PostgresWork(connection)))

    async def finish_snapshot(
        self, run: RunRef, *, skipped: int, rejected: int, duplicates: int
    ) -> None:
        await self.transact(_let_planner_look)
        await super().finish_snapshot(
            run, skipped=skipped, rejected=rejected, duplicates=duplicates
        )

    def prepare(self, run: RunRef, batch: Sequence[NewMessage]) -> Prepared:
        return Prepared(count=len(batch), rows=copy_text(run, batch))

    async def look(self, body: Body[T]) -> T:
        # Counts and lists read much: they get the planner's whole choice.
        with self._told():
            async with self._database.driver() as connection:
                try:
                    return await body(PostgresWork(connection))
                finally:
                    if not connection.closed:
                        await connection.rollback()

    async def _again(
        self, call: Callable[[psycopg.AsyncConnection[Row]], Coroutine[Any, Any, T]]
    ) -> T:
        assert self._database.hot is not None
        with self._told():
            for tried in range(1, TRIES + 1):
                try:
                    async with self._database.hot.take() as connection:
                        return await call(connection)
                except psycopg.errors.DeadlockDetected:
                    if tried == TRIES:
                        raise
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        # SQLAlchemy's pool, which connects, wraps the driver's error.
        except (*_AWAY, OperationalError) as error:
            raise DatabaseError(
                f"the database {self._database.url!r} failed: {getattr(error, 'orig', error)}",
                mend="Check that the server runs; what was not stored is tried again.",
            ) from error
