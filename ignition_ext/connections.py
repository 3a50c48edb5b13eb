"""The connections of the hot path, held open beside SQLAlchemy's pool: no look at each checkout.

PostgreSQL's are few and used again last in, first out. SQLite's live in a thread each, where a
whole transaction costs one hop from the event loop instead of one for each statement; one more is
the event loop's own, for transactions that take less time than a hop.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

T = TypeVar("T")
LOOK_AFTER_SECONDS = 5.0
"""A connection that was idle for longer is asked whether its server still lives: a restart or a
firewall may have ended it. One in use has no need of that, and each look costs a round trip."""
HOT_OPTIONS = (
    # Everything here is a look-up by key, in tables that may be empty when the plan is made and
    # hold millions a minute later: the plan is the same for both, and made once.
    " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off"
    # A forbidden plan that is the only one costs so much that it would be compiled, each time.
    " -c enable_mergejoin=off -c enable_memoize=off -c jit=off"
)


class PostgresConnections:
    """Driver connections without a transaction, for statements that look up by key.

    Args:
        arguments: of ``psycopg.AsyncConnection.connect``.
        most: connections at a time; who comes above it waits.
    """

    def __init__(self, arguments: Mapping[str, Any], *, most: int) -> None:
        self._arguments = arguments
        self._idle: list[tuple[float, psycopg.AsyncConnection[Any]]] = []
        self._room = asyncio.Semaphore(most)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in autocommit mode; an open transaction is rolled back at the end.

        Raises:
            psycopg.OperationalError: the server cannot be reached.
        """
        async with self._room:
            connection = await self._living() or await self._connect()
            try:
                yield connection
            except psycopg.errors.ReadOnlySqlTransaction:
                # The server stands by for another now, also behind every other connection.
                await connection.close()
                await self.close()
                raise
            finally:
                await self._give_back(connection)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            autocommit=True, prepare_threshold=0, **self._arguments
        )

    async def _living(self) -> psycopg.AsyncConnection[Any] | None:
        while self._idle:
            since, connection = self._idle.pop()
            if time.monotonic() - since < LOOK_AFTER_SECONDS:
                return connection
            try:
                await connection.execute("SELECT 1")
            except psycopg.Error:
                await connection.close()
            except BaseException:
                await connection.close()
                raise
            else:
                return connection
        return None

    async def _give_back(self, connection: psycopg.AsyncConnection[Any]) -> None:
        status = connection.info.transaction_status
        if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with suppress(psycopg.Error):
                await asyncio.shield(asyncio.ensure_future(connection.rollback()))
            status = connection.info.transaction_status
        if status == TransactionStatus.IDLE:
            self._idle.append((time.monotonic(), connection))
        else:
            await connection.close()

    async def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            await self._idle.pop()[1].close()


class SqliteThread:
    """One connection in a thread of its own, opened at its first use.

    Args:
        path: the database file.
        prepare: sets the connection up.
    """

    def __init__(self, path: str, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path, self._prepare = path, prepare
        self._connection: sqlite3.Connection | None = None
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[sqlite3.Connection, threading.Event], T]) -> T:
        """What ``work`` returns; it has the connection to itself.

        When the caller is cancelled the event is set, and the cancellation goes on when ``work``
        has come to its end: no lock outlives the call.
        """
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="ignition-sqlite")
        stopped = threading.Event()
        job = asyncio.get_running_loop().run_in_executor(self._executor, self._do, work, stopped)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([job])
            with suppress(Exception):  # nobody is left to be told
                job.result()
            raise

    def _do(self, work: Callable[[sqlite3.Connection, threading.Event], T], stopped: Any) -> T:
        if self._connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return work(self._connection, stopped)

    async def close(self) -> None:
        """Close the connection and end the thread."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.get_running_loop().run_in_executor(executor, self._close)
            executor.shutdown()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class SqliteHere:
    """One connection in the event loop's own thread, opened at its first use.

    For transactions of a few rows, which nobody else waits for: handing one to a thread and being
    told of its end would take longer than itself.

    Args:
        path: the database file.
        prepare: sets the connection up.
    """

    def __init__(self, path: str, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path, self._prepare = path, prepare
        self._connection: sqlite3.Connection | None = None

    def begin(self) -> sqlite3.Connection | None:
        """The connection in a transaction that may write; None while another one writes.

        Raises:
            sqlite3.OperationalError: the database cannot be used.
        """
        connection = self._connection or self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            self._prepare(connection)
            connection.execute("PRAGMA busy_timeout=0")  # the event loop does not wait
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
