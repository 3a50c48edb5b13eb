"""Recipients from a query on the operator's own database, read with a server-side cursor."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, TextClause, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ignition_ext.audience.columns import read_header
from ignition_ext.audience.contract import BATCH_ROWS, SourceStats
from ignition_ext.audience.rejects import Rejects
from ignition_ext.audience.rows import RowReader
from ignition_ext.audience.seen import SeenAddresses
from ignition_ext.audience.where import compile_where
from ignition_ext.audience.where_dialects import (
    PostgresSpelling,
    SqliteSpelling,
    register_functions,
)
from ignition_ext.errors import AudienceError
from ignition_ext.values import Recipient

CONNECT_SECONDS = 15
"""Longer than a slow VPN takes, short enough that a run says soon that its warehouse is away."""
T = TypeVar("T")


def source_url(url: str, block: str) -> URL:
    """The URL with the driver that reads it.

    Raises:
        AudienceError: it is unreadable, of an unknown kind, or a SQLite file that is not there.
    """
    mend = f"Give block {block!r} a URL postgresql://USER:PASSWORD@HOST/DB or sqlite:///PATH."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # SQLAlchemy's own message may repeat the URL and its password.
        raise AudienceError(f"block {block!r} holds no database URL.", mend=mend) from None
    match parsed.get_backend_name():
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case "sqlite":
            if not parsed.database or not Path(parsed.database).is_file():
                raise AudienceError(
                    f"block {block!r}: there is no SQLite file {parsed.database!r}.", mend=mend
                )
            return parsed.set(drivername="sqlite")
        case other:
            raise AudienceError(
                f"block {block!r}: queries on {other} are not supported.", mend=mend
            )


def verbatim(query: str) -> str:
    """A query for ``text()`` in which colons name no parameters."""
    return query.replace(":", "\\:")


class SqlSource:
    """A query's result as a source; ``await open()`` first, ``await close()`` at the end.

    The connection can only read, and lives in one thread of its own.
    """

    def __init__(
        self,
        url: str,
        query: str,
        *,
        block: str,
        region: str | None,
        rejects: Path | None,
        where: str | None,
    ) -> None:
        self.columns: Sequence[str] = ()
        self.stats = SourceStats()
        self.rejects = Rejects(rejects)
        self._query, self._where, self._block, self._region = query, where, block, region
        self._url = source_url(url, block)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audience-sql")
        self._connection: Connection | None = None
        self._result: CursorResult[Any] | None = None
        self._iterator: Generator[Sequence[Recipient], None, None] | None = None
        self._busy = threading.Event()

    async def open(self) -> None:
        """Connect and start the query.

        Raises:
            AudienceError: with the database's own message.
        """
        await self._run(self._open)

    async def batches(self) -> AsyncIterator[Sequence[Recipient]]:
        """Recipients in the order of the result."""
        while batch := await self._run(self._next):
            self.stats.yielded += len(batch)
            yield batch

    def finish(self) -> None:
        """Put the rejects file in place, when there is something in it."""
        self.stats.rejects_path = self.rejects.commit()

    async def close(self) -> None:
        """Stop a query that still runs, and disconnect."""
        if self._busy.is_set():
            self._interrupt()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, step: Callable[[], T]) -> T:
        def guarded() -> T:
            self._busy.set()
            try:
                return step()
            except SQLAlchemyError as error:
                raise self._failure(error) from None
            finally:
                self._busy.clear()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _next(self) -> Sequence[Recipient] | None:
        assert self._iterator is not None
        return next(self._iterator, None)

    def _open(self) -> None:
        postgres = self._url.get_backend_name() == "postgresql"
        options = {"connect_timeout": CONNECT_SECONDS} if postgres else {}
        engine = create_engine(self._url, poolclass=NullPool, connect_args=options)
        if not postgres:
            event.listen(engine, "connect", _prepare_sqlite)
        self._connection = engine.connect().execution_options(
            postgresql_readonly=True, stream_results=True, yield_per=BATCH_ROWS
        )
        query = self._query.strip().rstrip(";")
        result = self._execute(text(verbatim(query)) if not self._where else self._filtered(query))
        names = list(result.keys())
        self.columns = read_header(names, path=f"block {self._block!r}")
        self._iterator = self._batches(result)

    def _execute(self, statement: TextClause) -> CursorResult[Any]:
        assert self._connection is not None
        self._result = result = self._connection.execute(statement)
        if not result.returns_rows:
            raise AudienceError(
                f"block {self._block!r}: the query returns no rows.",
                mend="Write a SELECT that returns an email or phone column.",
            )
        return result

    def _filtered(self, query: str) -> TextClause:
        """The query inside another one that holds the condition; asks for its columns first."""
        unread = self._execute(text(verbatim(query)))
        written = list(unread.keys())
        unread.close()
        names = dict(zip(read_header(written, path=f"block {self._block!r}"), written, strict=True))

        def column(name: str, _: str) -> str:
            return f'CAST("{verbatim(names[name])}" AS text)'

        spelling = (
            PostgresSpelling(json=False)
            if self._url.get_backend_name() == "postgresql"
            else SqliteSpelling(json=False)
        )
        condition = compile_where(str(self._where), tuple(names), spelling, column)
        wrapped = f"SELECT * FROM (\n{verbatim(query)}\n) AS audience_source WHERE {condition.sql}"  # noqa: S608 - the operator's own query; the condition is compiled, its values parameters
        return text(wrapped).bindparams(**condition.parameters)

    def _batches(self, result: CursorResult[Any]) -> Generator[Sequence[Recipient], None, None]:
        reader = RowReader(
            self.columns, region=self._region, stats=self.stats, report=self.rejects.add
        )
        seen, line = SeenAddresses(), 0
        try:
            for rows in result.partitions(BATCH_ROWS):
                batch = [reader.read(line + n, tuple(row)) for n, row in enumerate(rows, start=1)]
                line += len(rows)
                found = [recipient for recipient in batch if recipient is not None]
                fresh = seen.new_ones(found)
                self.stats.duplicates += len(found) - len(fresh)
                if fresh:
                    yield fresh
        finally:
            seen.close()

    def _interrupt(self) -> None:
        """Ask the database to give up the running statement; safe from another thread."""
        if self._connection is not None and not self._connection.closed:
            raw: Any = self._connection.connection.dbapi_connection
            (raw.cancel if hasattr(raw, "cancel") else raw.interrupt)()

    def _close(self) -> None:
        self.rejects.discard()
        if self._iterator is not None:
            self._iterator.close()
        if self._result is not None:
            self._result.close()
        if self._connection is not None:
            self._connection.close()

    def _failure(self, error: SQLAlchemyError) -> AudienceError:
        origin = error.orig if isinstance(error, DBAPIError) else error
        # PostgreSQL's first line; the others quote the cursor's statement, which nobody wrote.
        said = getattr(getattr(origin, "diag", None), "message_primary", None) or str(origin)
        if self._url.password:
            said = said.replace(str(self._url.password), "***")
        connected = self._connection is not None
        return AudienceError(
            f"block {self._block!r}: {' '.join(said.split())}",
            mend=(
                "Check the query of audience.sql; the database refused it."
                if connected
                else f"Check the database that block {self._block!r} names, and its password."
            ),
        )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")
    register_functions(connection.create_function)
