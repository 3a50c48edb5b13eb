"""The ledger on SQLite: a transaction is one call into the thread that owns the connection."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any, TypeVar
from uuid import UUID

from ignition_ext.connections import SqliteThread
from ignition_ext.errors import DatabaseError
from ignition_ext.ledger.accepted import Accepted, AcceptedParts, alike
from ignition_ext.ledger.accounts import Body, SqlLedger
from ignition_ext.ledger.contract import CHANNELS, ClaimedMessage, NewMessage
from ignition_ext.ledger.ids import key_of, ordered_keys
from ignition_ext.ledger.rows import WAITING, document
from ignition_ext.ledger.statements import load_statements
from ignition_ext.ledger.work import NotHeldError, Prepared, Row, Work
from ignition_ext.values import LeaseId, MessageId, RunRef

T = TypeVar("T")
_STATEMENTS = load_statements(
    "message.sqlite.sql",
    "lease.sqlite.sql",
    "part.sqlite.sql",
    "wishes.sqlite.sql",
    "held.sqlite.sql",
    "fallback.sqlite.sql",
)
FEW = 400
"""Rows whose transaction is over in some milliseconds: handing it to a thread costs as much."""
_TIME = "%Y-%m-%d %H:%M:%S.%f"


def stored(value: Any) -> Any:
    """A value as SQLite's columns hold it: keys as 32 hex digits, times as text in UTC."""
    match value:
        case str() | int() | None:  # the most; an enumeration of texts is text to the driver
            return value
        case UUID():
            return value.hex
        case datetime():
            return value.astimezone(UTC).strftime(_TIME)
        case timedelta():
            return value.total_seconds()
        case list() | tuple():
            if value and isinstance(value[0], UUID):
                return json.dumps([key.hex for key in value])
            return json.dumps([stored(item) for item in value])
        case _:
            return value


class SqliteWork(Work):
    """A transaction on a connection of the calling thread; nothing in it ever waits for a loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def fetch(self, name: str, /, **parameters: Any) -> list[Row]:
        values = {key: stored(value) for key, value in parameters.items()}
        return self._connection.execute(_STATEMENTS[name], values).fetchall()

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]], /) -> int:
        if not rows:
            return 0
        values = [{key: stored(value) for key, value in row.items()} for row in rows]
        return self._connection.executemany(_STATEMENTS[name], values).rowcount

    async def apply_changes(self, rows: Sequence[Mapping[str, Any]]) -> int:
        written = await self.write("apply_changes", rows)
        waiting = [row["id"] for row in rows if row["state"] in WAITING and row["has_run"]]
        if waiting:
            await self.fetch("add_due", ids=waiting)
        return written

    def uuid(self, value: Any) -> UUID:
        return UUID(hex=value)

    def time(self, value: Any) -> datetime:
        return datetime.strptime(value, _TIME).replace(tzinfo=UTC)

    async def share_bind(self, bind: str) -> None:
        """Nothing to do: there is one writer at a time."""

    async def lock_bind(self, bind: str) -> None:
        """Nothing to do: there is one writer at a time."""

    async def add_messages(self, run: RunRef, batch: Prepared, room: int | None) -> int:
        batch.sent()
        rows: list[Row] = batch.rows
        if room is not None:
            rows = await self._fresh(run, rows, room)
        fixed = (stored(run.run_at), run.tenant_id, run.id.hex)
        added = self._connection.executemany(
            _STATEMENTS["add_message"], [(row[0], *fixed, *row[1:]) for row in rows]
        ).rowcount
        await self.fetch("add_due", ids=[row[0] for row in rows])
        return added

    async def _fresh(self, run: RunRef, rows: Sequence[Row], room: int) -> list[Row]:
        """The first rows of addresses that the run does not know: they alone use up its limit."""
        new = {(row[2], row[3]): row for row in reversed(rows)}
        for channel in {row[2] for row in rows}:
            known = await self.fetch(
                "find_known",
                run_id=run.id,
                run_at=run.run_at,
                channel=channel,
                addresses=[address for kind, address in new if kind == channel],
            )
            for key in known:
                del new[key]
        # The mapping was filled backwards, so that the first of two equal addresses stays.
        return list(reversed(new.values()))[:room]

    async def claim_due(
        self, run: RunRef, lease: LeaseId, limit: int
    ) -> tuple[list[ClaimedMessage], int]:
        due = await self.fetch("find_due", run_id=run.id, limit=limit)
        claimed = [row for row in due if not row[8]]
        barred = [row[0] for row in due if row[8]]
        if due:
            # The first ones of the run: whatever stands up to the last of them.
            await self.fetch("take_due", run_id=run.id, not_before=due[-1][9], id=due[-1][0])
            await self.fetch(
                "claim", ids=[row[0] for row in claimed], run_at=run.run_at, lease_id=lease
            )
        if barred:
            await self.fetch("note_suppressed", ids=barred, run_at=run.run_at)
            await self.fetch("suppress", ids=barred, run_at=run.run_at)
        messages = [
            ClaimedMessage(
                id=MessageId(key_of(row[0])),
                channel=CHANNELS[row[1]],
                address=row[2],
                domain=row[3],
                locale=row[4],
                timezone=row[5],
                attempts=row[6],
                data=row[7],
            )
            for row in claimed
        ]
        return messages, len(due)

    async def turn(
        self, run: RunRef, lease: LeaseId, accepted: Accepted, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        # One statement for many rows each time: whoever ends a step waits for the interpreter.
        names = {"run_at": stored(run.run_at), "lease_id": lease.hex, "run_id": run.id.hex}
        if accepted.ids:
            self._settle(accepted, names)
        return self._intend(ids, names) if ids else frozenset()

    def _settle(self, accepted: Accepted, names: Mapping[str, str]) -> None:
        keys = [key.hex for key in accepted.ids]
        code, enhanced = alike(accepted.codes), alike(accepted.enhanced)
        words: list[Sequence[Any]] = [accepted.details, accepted.provider_ids]
        if code is None or enhanced is None or accepted.counts:
            counts = accepted.counts or [0] * len(keys)
            words += [accepted.codes, accepted.enhanced, counts]
        by_key = dict(zip(keys, zip(*words, strict=True), strict=True))
        told = {
            "told": json.dumps(by_key, ensure_ascii=False),
            "code": code,
            "enhanced": enhanced,
            "counted": bool(accepted.counts),
        }
        execute = self._connection.execute
        if execute(_STATEMENTS["settle_accepted"], {**names, **told}).rowcount != len(keys):
            raise NotHeldError
        execute(_STATEMENTS["note_accepted"], {**names, "ids": json.dumps(keys)})

    def _intend(self, ids: Sequence[MessageId], names: Mapping[str, str]) -> frozenset[MessageId]:
        keys = {"ids": json.dumps([key.hex for key in ids])}
        execute = self._connection.execute
        # Not RETURNING: it costs as much again as the rest of the statement.
        ((found,),) = execute(_STATEMENTS["find_claimed"], {**names, **keys}).fetchall()
        if not found:
            return frozenset()
        granted = frozenset(ids)
        claimed: list[str] = found.split()
        if len(claimed) != len(granted):
            granted = frozenset(MessageId(UUID(key)) for key in claimed)
            keys = {"ids": json.dumps(claimed)}
        execute(_STATEMENTS["intend"], {**names, **keys})
        return granted

    async def turn_parts(
        self,
        run: RunRef,
        lease: LeaseId,
        bind: str,
        accepted: Accepted,
        ids: Sequence[MessageId],
    ) -> tuple[frozenset[MessageId], bool]:
        granted = await self.turn(run, lease, accepted, ids)
        if accepted.parts is not None:
            self._add_parts(run, bind, accepted.parts)
        return granted, await self.has_receipts(bind)

    def _add_parts(self, run: RunRef, bind: str, parts: AcceptedParts) -> None:
        rows = zip(
            [key.hex for key in parts.message_ids],
            parts.numbers,
            repeat(stored(run.run_at)),
            repeat(run.tenant_id),
            parts.totals,
            repeat(bind),
            parts.provider_ids,
            parts.provider_keys,
            parts.codes,
            parts.details,
            strict=False,
        )
        self._connection.executemany(_STATEMENTS["add_accepted_part"], rows)


class SqliteLedger(SqlLedger):
    """The ledger on SQLite."""

    async def transact(self, body: Body[T]) -> T:
        def whole(connection: sqlite3.Connection, stopped: threading.Event) -> T:
            connection.execute("BEGIN IMMEDIATE")
            return _ended(connection, body, stopped)

        return await self._call(self._database.writer, whole)

    async def briefly(self, body: Body[T], *, rows: int, alone: bool) -> T:
        assert self._database.here is not None
        if rows <= FEW:
            with self._told():
                if (connection := self._database.here.begin()) is not None:
                    return _ended(connection, body)
        return await self.transact(body)

    def prepare(self, run: RunRef, batch: Sequence[NewMessage]) -> Prepared:
        keys = ordered_keys(len(batch))
        rows = [
            (
                key,
                message.recipient_id,
                message.channel.value,
                message.address,
                message.domain,
                message.locale,
                message.timezone,
                document(message.data),
                stored(message.not_before),
            )
            for key, message in zip(keys, batch, strict=True)
        ]
        return Prepared(count=len(rows), rows=rows)

    async def look(self, body: Body[T]) -> T:
        return await self._call(
            self._database.reader,
            lambda connection, _stopped: _driven(body(SqliteWork(connection))),
        )

    async def _call(self, thread: SqliteThread | None, work: Any) -> T:
        assert thread is not None
        with self._told():
            done: T = await thread.run(work)
            return done

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise DatabaseError(
                f"the database {self._database.url!r} failed: {error}",
                mend="Check its disk, and that no other program keeps it locked.",
            ) from error


def _ended(
    connection: sqlite3.Connection, body: Body[T], stopped: threading.Event | None = None
) -> T:
    """What ``body`` returns; the transaction that has begun is over then, also on an error."""
    try:
        done = _driven(body(SqliteWork(connection)))
        kept = stopped is None or not stopped.is_set()
        connection.execute("COMMIT" if kept else "ROLLBACK")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return done


def _driven(body: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits: every step of :class:`SqliteWork` is done at once."""
    try:
        body.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    body.close()
    raise RuntimeError("a transaction on SQLite waited for something outside of it")
