"""Closes the cursor of a statement that failed on SQLite, so that no event loop waits for it.

SQLAlchemy's aiosqlite dialect closes a cursor after a statement, but not after one that failed
(2.0.58, ``AsyncAdapt_aiosqlite_cursor.execute``): the exception's traceback holds it until the
garbage collector comes by. That happens in the event loop's thread, and SQLite's ``reset`` of the
cursor's statement then waits for the connection, whose own thread may be waiting for a lock that
somebody in this event loop holds. Everything stands still until the busy timeout: for a minute
in Prefect's server, where "database is locked" is a usual answer.

For Prefect's server name the plugin in its database's URL:
``sqlite+aiosqlite:////srv/prefect.db?plugin=ignition``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiosqlite import Connection, Cursor
from aiosqlite.context import Result
from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import CreateEnginePlugin

PLUGIN = "ignition"
"""The plugin's name in a URL, an entry point of the group ``sqlalchemy.plugins``."""


class ClosingCursor(Cursor):
    """A cursor that closes itself, in its connection's thread, when a statement fails."""

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Cursor:
        """Execute one statement."""
        try:
            return await super().execute(sql, parameters)
        except Exception:
            await self.close()
            raise

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Cursor:
        """Execute one statement for each set of parameters."""
        try:
            return await super().executemany(sql, parameters)
        except Exception:
            await self.close()
            raise


def use_closing_cursors(connection: Any, _record: object = None) -> None:
    """Listen to ``connect`` of an engine with the aiosqlite dialect; others are let alone."""
    raw = connection.driver_connection
    if not isinstance(raw, Connection):
        return

    async def opened() -> Cursor:
        cursor = await Connection.cursor(raw)
        return ClosingCursor(raw, cursor._cursor)

    def make() -> Result[Cursor]:  # can be awaited, as SQLAlchemy does, or entered
        return Result(opened())

    raw.cursor = make  # type: ignore[method-assign]  # of this connection alone


class ClosingCursors(CreateEnginePlugin):
    """The same for an engine that somebody else makes, by its URL."""

    def update_url(self, url: URL) -> URL:
        """The URL as it is: nothing but the plugin's name is for it."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Have each connection of the engine use such cursors."""
        event.listen(engine, "connect", use_closing_cursors)
