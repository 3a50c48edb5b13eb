"""Turns what the ledger noted about messages into outcomes, in batches.

It reads ``message_event`` and adds nothing to the work of whoever sends. One transaction writes
what is told and how far was read: a process that dies in between has told nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, insert, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ignition_ext.database import Database
from ignition_ext.outcomes.batches import Batches, Change, Group
from ignition_ext.outcomes.interests import interests, of_messages
from ignition_ext.outcomes.position import NOTHING, Position, Snapshot
from ignition_ext.outcomes.summaries import Count, summaries
from ignition_ext.outcomes.tables import CURSORS, DELIVERIES, OUTBOX
from ignition_ext.statements import load_statements

_PACKAGE = __package__ or ""
_POSTGRES = load_statements(_PACKAGE, "messages.postgresql.sql")
_SQLITE = load_statements(_PACKAGE, "messages.sqlite.sql")
_TIME = "%Y-%m-%d %H:%M:%S.%f"

NAME = "messages"
MARGIN = timedelta(seconds=60)
"""Between the beginning of a statement and the first row it writes, where this role may not see
when others began; on SQLite how far back is read when the clock was set back."""
OLDEST = timedelta(days=7)
"""What happened longer ago is not told any more, where nobody asked for so long."""
ROWS_AT_ONCE = 1000
PAGE = 100
"""Deliveries that are written at a time: some megabytes."""
MOST_CHANGES = 20_000
"""That SQLite's way holds in memory at a time; PostgreSQL's streams them."""
TICK_SECONDS = 0.002
"""SQLite's clock goes by milliseconds."""
PLAN = (
    # The new ones are few beside the table: found by block range, their messages by key.
    "SET LOCAL enable_seqscan = off",
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
    "SET LOCAL jit = off",
)


@dataclass(frozen=True, slots=True)
class Derived:
    """What one pass came to; ``more`` says that there is more to read at once."""

    changes: int = 0
    deliveries: int = 0
    more: bool = False


async def derive_messages(database: Database) -> Derived:
    """Write down what is to be told of the messages that changed since the last time.

    Safe at any time and in any number: who comes second finds nothing to do.
    """
    if database.dialect == "postgresql":
        return await _by_transactions(database)
    return await _by_time(database)


async def _by_transactions(database: Database) -> Derived:
    async with database.engine.connect() as connection:
        oldest = _time((await connection.execute(text(_POSTGRES["read_oldest"]))).scalar_one())
    async with database.engine.connect() as opened:
        connection = await opened.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            try:
                held = (await connection.execute(text(_POSTGRES["hold_position"]))).one_or_none()
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", "") == "40001":
                    return Derived()  # another one came first, and is done
                raise
            if held is None:
                return Derived()
            return await _tell_unseen(connection, held, oldest)


async def _tell_unseen(connection: AsyncConnection, held: Row[Any], oldest: datetime) -> Derived:
    moved_at, now, snapshot = _time(held[1]), _time(held[2]), Snapshot.parse(held[3])
    position = Position.read(held[0])
    seen, since = position.snapshot, position.earliest() or moved_at - OLDEST
    if seen.xmax > snapshot.xmax:
        # The database came here from another server, whose numbers were others.
        seen, since, position = NOTHING, moved_at, Position(NOTHING)
    for setting in PLAN:
        await connection.execute(text(setting))
    lower = snapshot.xmax % 2**32
    span = {
        "since": max(since, now - OLDEST),
        "seen_below": seen.xmax,
        "running": list(seen.running),
        "epoch": snapshot.xmax - lower,
        "newest": lower,
    }
    derived = await _write(connection, connection, _POSTGRES, span, now)
    moved = position.moved(snapshot, min(oldest, now - MARGIN))
    await connection.execute(
        update(CURSORS).where(CURSORS.c.name == NAME).values(position=moved.stored(), moved_at=now)
    )
    return derived


async def _by_time(database: Database) -> Derived:
    # Whoever writes takes the time while nobody else can: with the lock in hand, every change of
    # an earlier time is there, and none will come. What was there before this call is of one.
    await asyncio.sleep(TICK_SECONDS)
    async with database.engine.begin() as connection:
        until = str((await connection.execute(text(_SQLITE["read_clock"]))).scalar_one())
    async with database.engine.connect() as opened:
        reading = await opened.execution_options(ignition_read_only=True)
        since = str((await reading.execute(text(_SQLITE["read_position"]))).one()[1])
        span = await _span(reading, since, until)
        kept = _Kept()
        derived = await _write(reading, kept, _SQLITE, span, _time(until))
    async with database.engine.begin() as connection:
        moved = await connection.execute(
            text(
                "UPDATE outcome_cursor SET moved_at = :end WHERE name = :name AND moved_at = :old"
            ),
            {"end": span["until"], "name": NAME, "old": since},
        )
        if not moved.rowcount:
            return Derived()  # another one came first
        await kept.give(connection)
    return Derived(derived.changes, derived.deliveries, more=span["until"] < until)


async def _span(reading: AsyncConnection, since: str, until: str) -> dict[str, Any]:
    """The times between which is read: so that not too many changes are of them."""
    now = _time(until)
    if until < since:  # the clock was set back: rather twice than never
        since = _text(now - MARGIN)
    since = max(since, _text(now - OLDEST))
    parameters: dict[str, Any] = {"since": since, "until": until}
    first = (await reading.execute(text(_SQLITE["read_oldest_run"]), parameters)).scalar_one()
    parameters["first_id"] = _first_id(_time(first) if first else now)
    end = (
        await reading.execute(text(_SQLITE["find_end"]), parameters | {"most": MOST_CHANGES})
    ).scalar_one_or_none()
    if end is not None:
        # At least a millisecond, which is as fine as the clock is.
        end = max(str(end), _text(_time(since) + timedelta(milliseconds=1)))
        parameters["until"] = min(end, until)
    return parameters


def _first_id(created_at: datetime) -> str:
    """The least that a message's id can be that was made at this time or later."""
    milliseconds = int((created_at - MARGIN).timestamp() * 1000)
    return f"{milliseconds:012x}".ljust(32, "0")


class _Kept:
    """Rows to be written later, in one short transaction."""

    def __init__(self) -> None:
        self._rows: list[tuple[Table, list[dict[str, Any]]]] = []

    async def write(self, table: Table, rows: list[dict[str, Any]]) -> None:
        self._rows.append((table, rows))

    async def give(self, connection: AsyncConnection) -> None:
        for table, rows in self._rows:
            await connection.execute(insert(table), rows)


async def _write(
    reading: AsyncConnection,
    writing: AsyncConnection | _Kept,
    statements: Mapping[str, str],
    span: Mapping[str, Any],
    now: datetime,
) -> Derived:
    found = (await reading.execute(text(statements["count_changes"]), span)).all()
    if told := summaries(map(_count, found), now):
        await _put(writing, OUTBOX, told)
    changes = sum(row[7] for row in found)
    wanted = of_messages(await interests(reading))
    if not changes or not wanted:
        return Derived(changes)
    tenants: Any = list(wanted)
    is_sqlite = reading.dialect.name == "sqlite"
    parameters = {**span, "tenants": json.dumps(tenants) if is_sqlite else tenants}
    batches, count = Batches(wanted, now), 0
    full: list[dict[str, Any]] = []
    result = await reading.stream(text(statements["read_changes"]), parameters)
    try:
        async for rows in result.partitions(ROWS_AT_ONCE):
            for row in rows:
                full.extend(batches.add(*_change(row)))
            if len(full) >= PAGE:
                count += len(full)
                await _put(writing, DELIVERIES, full)
                full = []
    finally:
        await result.close()
    full.extend(batches.rest())
    if full:
        await _put(writing, DELIVERIES, full)
    return Derived(changes, count + len(full))


async def _put(writing: AsyncConnection | _Kept, table: Table, rows: list[dict[str, Any]]) -> None:
    if isinstance(writing, _Kept):
        await writing.write(table, rows)
    else:
        await writing.execute(insert(table), rows)


def _count(row: Row[Any]) -> Count:
    return Count(
        group=Group(
            tenant_id=row[0],
            tenant=row[1],
            run_id=_key(row[2]),
            campaign=row[3],
            channel=row[4],
            state=row[5],
        ),
        failure_class=row[6],
        count=row[7],
        first_at=_time(row[8]),
        last_at=_time(row[9]),
        examples=(UUID(row[10]), UUID(row[11])),
        flow_run_id=_key(row[12]),
    )


def _change(row: Row[Any]) -> tuple[Group, Change]:
    tenant_id, tenant, run_id, campaign, channel, state, message_id, seq, at, *rest = row
    group = Group(tenant_id, tenant, _key(run_id), campaign, channel, state)
    return group, Change(_written_key(message_id), seq, _time(at), *rest)


@lru_cache(1024)  # of runs, which are few
def _key(value: Any) -> UUID | None:
    return None if value is None else UUID(str(value))


def _written_key(value: Any) -> str:
    """A key with its hyphens, which SQLite's column is without."""
    if isinstance(value, UUID):
        return str(value)
    digits = str(value)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _time(value: Any) -> datetime:
    """A time as the driver gave it: SQLite's is text in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_TIME)
