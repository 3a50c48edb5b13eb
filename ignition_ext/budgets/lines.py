"""The lines of all rates in the database: many of them moved on in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta

from sqlalchemy import Executable, text
from sqlalchemy.types import NullType

from ignition_ext.budgets.rate import LONGEST_SHARE, Grant, Limit, Line, Want, grant
from ignition_ext.database import Database, Dialect
from ignition_ext.models.types import UtcDateTime
from ignition_ext.schema import database_errors
from ignition_ext.statements import load_statements

CHUNK = 500
"""Lines in one transaction: others wait for their locks meanwhile, on SQLite everyone does."""
IDLE = timedelta(hours=1)
"""A line that lies so far back says nothing that a new one would not; only its rate's revision is
forgotten, and no sender still holds an older one by then."""


class Lines:
    """The places of every rate, the same for all senders on all nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = _statements(database.dialect)

    async def take(self, wants: Sequence[Want]) -> dict[str, Grant]:
        """Give each its next places; at most one want a key.

        What was granted counts as used until it is given back.

        Raises:
            DatabaseError: the database is away.
        """
        granted: dict[str, Grant] = {}
        ordered = sorted(wants, key=lambda want: want.limit.key)
        with database_errors(self._database):
            for start in range(0, len(ordered), CHUNK):
                chunk = ordered[start : start + CHUNK]
                granted |= await self._take({want.limit.key: want for want in chunk})
        return granted

    async def _take(self, wants: Mapping[str, Want]) -> dict[str, Grant]:
        asked = json.dumps([_document(want.limit) for want in wants.values()])
        granted: dict[str, Grant] = {}
        moved = []
        async with self._database.engine.begin() as connection:
            await connection.execute(
                self._statements["enter"], {"wants": asked, "share": LONGEST_SHARE}
            )
            rows = await connection.execute(self._statements["read"], {"wants": asked})
            for key, rate, revision, share, next_at, now in rows:
                line = Line(rate=rate, revision=revision, share=share, next_at=next_at)
                after, granted[key] = grant(line, wants[key], now)
                moved.append(_row(key, after))
            await connection.execute(self._statements["write"], {"lines": json.dumps(moved)})
        return granted

    async def announce(self, limit: Limit, *, prefix: bool = False) -> None:
        """Let a changed rate count at once, in lines that are there; ``prefix``: in all below."""
        query = "SELECT key FROM rate_budget WHERE key = :key"
        if prefix:
            query = "SELECT key FROM rate_budget WHERE substr(key, 1, length(:key)) = :key"
        with database_errors(self._database):
            async with self._database.engine.connect() as connection:
                rows = await connection.execute(text(query), {"key": limit.key})
                keys = list(rows.scalars())
        await self.take([Want(limit=replace(limit, key=key), count=0) for key in keys])

    async def sweep(self, idle: timedelta = IDLE) -> int:
        """Delete lines that nobody used for a while; returns how many."""
        total, done = 0, CHUNK
        while done == CHUNK:
            async with self._database.engine.begin() as connection:
                result = await connection.execute(
                    self._statements["sweep"], {"idle": idle.total_seconds(), "limit": CHUNK}
                )
                done = result.rowcount
            total += done
        return total


def _document(limit: Limit) -> dict[str, object]:
    return {
        "key": limit.key,
        "tenant_id": limit.tenant_id,
        "rate": float(limit.rate),
        "revision": limit.revision,
    }


def _row(key: str, line: Line) -> dict[str, object]:
    return {
        "key": key,
        "rate": line.rate,
        "revision": line.revision,
        "share": line.share,
        "next_at": f"{line.next_at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
    }


def _statements(dialect: Dialect) -> dict[str, Executable]:
    words = load_statements("ignition_ext.budgets", f"rate.{dialect}.sql")
    statements: dict[str, Executable] = {name: text(sql) for name, sql in words.items()}
    columns = dict.fromkeys(("key", "rate", "revision", "share"), NullType())
    times = dict.fromkeys(("next_at", "now"), UtcDateTime())
    statements["read"] = text(words["read"]).columns(**columns, **times)
    return statements
