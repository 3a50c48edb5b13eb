"""The one door to Ignition's database: SQLite through aiosqlite, PostgreSQL through psycopg 3.

Both speak unqualified table names: on PostgreSQL the connection's ``search_path`` is the schema
``ignition``. Transactions that write begin with SQLite's write lock (``BEGIN IMMEDIATE``), so
that two writers queue instead of failing half way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.connections import HOT_OPTIONS, PostgresConnections, SqliteHere, SqliteThread
from ignition_ext.errors import ConfigurationError
from ignition_ext.one_host import require_one_host
from ignition_ext.sqlite_cursors import use_closing_cursors

Dialect = Literal["sqlite", "postgresql"]
POSTGRES_SCHEMA = "ignition"
BUSY_TIMEOUT_MS = 30_000
"""How long SQLite waits for another writer: longer than any batch, shorter than a lease."""

_PATIENCE = {
    "connect_timeout": 15,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How long a PostgreSQL server's host may be silent (libpq's parameters, the last in milliseconds).

One that lost its power, or drops packets, never answers: the kernel would wait for it for a quarter
of an hour, or two where nothing was left to acknowledge. What the database's URL names goes first.
"""


def async_url(url: str) -> URL:
    """The SQLAlchemy URL with Ignition's drivers for a plain ``sqlite:`` or ``postgresql:`` URL.

    Raises:
        ConfigurationError: for anything else.
    """
    mend = "Set IGNITION_DATABASE_URL to sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DB."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # a port that is no number is a ValueError
        raise ConfigurationError("the database URL cannot be read.", mend=mend) from error
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ConfigurationError("SQLite needs a file: memory cannot be shared.", mend=mend)
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ConfigurationError(f"{other!r} is not a database Ignition knows.", mend=mend)


class Database:
    """An engine and its rules. One per process and event loop; ``await close()`` when done.

    Attributes:
        hot: the ledger's own connections to PostgreSQL; None on SQLite.
        writer: SQLite's connection for the ledger's transactions that write; None on PostgreSQL.
        reader: the same for those that only read, so that long ones hold up no writer.
        here: the same for short ones that write, in the event loop's own thread.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = async_url(url)
        self.dialect: Dialect = (
            "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"
        )
        self.hot: PostgresConnections | None = None
        self.writer: SqliteThread | None = None
        self.reader: SqliteThread | None = None
        self.here: SqliteHere | None = None
        if self.dialect == "sqlite":
            assert self.url.database is not None
            _require_file(Path(self.url.database))
            self.writer = SqliteThread(self.url.database, _prepare_sqlite)
            self.reader = SqliteThread(self.url.database, _prepare_sqlite)
            self.here = SqliteHere(self.url.database, _prepare_sqlite)
            self.engine: AsyncEngine = create_async_engine(self.url, pool_size=pool_size)
            event.listen(self.engine.sync_engine, "connect", use_closing_cursors)
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            options = f"-c search_path={POSTGRES_SCHEMA} -c timezone=UTC"
            patience = {key: value for key, value in _PATIENCE.items() if key not in self.url.query}
            self.engine = create_async_engine(
                self.url,
                pool_size=pool_size,
                pool_pre_ping=True,
                connect_args={"options": options, **patience},
            )
            _, arguments = self.engine.dialect.create_connect_args(self.url)
            self.hot = PostgresConnections(
                {**arguments, **patience, "options": options + HOT_OPTIONS}, most=pool_size
            )

    def require_one_host(self) -> None:
        """Note that this host uses the database, where there can be only one.

        Raises:
            DatabaseError: it is SQLite, and another host used it a short while ago.
        """
        if self.dialect == "sqlite":
            assert self.url.database is not None
            require_one_host(Path(self.url.database))

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session in a transaction that may write; commits at the end, rolls back on an error."""
        async with (
            self.engine.begin() as connection,
            AsyncSession(bind=connection, expire_on_commit=False) as session,
        ):
            yield session
            await session.flush()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one state of the database and holds no write lock."""
        async with self.engine.connect() as connection:
            await connection.execution_options(ignition_read_only=True)
            async with AsyncSession(bind=connection, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[Any]:
        """A pooled driver connection (``psycopg.AsyncConnection`` or ``aiosqlite.Connection``).

        The caller begins and ends its own transactions, and must leave none open. The connection
        goes back to the pool at the end.
        """
        async with self.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            yield raw.driver_connection

    async def connect(self) -> AsyncConnection:
        """A plain SQLAlchemy connection, for migrations and views."""
        return await self.engine.connect()

    async def close(self) -> None:
        """Close every connection that is idle."""
        for kept in (self.hot, self.writer, self.reader, self.here):
            if kept is not None:
                await kept.close()
        await self.engine.dispose()


async def database_now(session: AsyncSession) -> datetime:
    """The database's clock: nothing that nodes share is timed by one of theirs."""
    postgres = session.get_bind().dialect.name == "postgresql"
    words = "clock_timestamp()" if postgres else "strftime('%Y-%m-%dT%H:%M:%f', 'now')"
    found = (await (await session.connection()).execute(text(f"SELECT {words}"))).scalar_one()
    if isinstance(found, datetime):
        return found.astimezone(UTC)
    return datetime.fromisoformat(str(found)).replace(tzinfo=UTC)


def _require_file(path: Path) -> None:
    # What SQLite cannot open is told here: aiosqlite's thread would print a traceback besides.
    folder = path.parent
    if path.is_dir():
        raise ConfigurationError(
            f"{path} is a folder, not a database.",
            mend="Set IGNITION_DATABASE_URL to a file in it.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be made: {error.strerror or error}.",
            mend="Set IGNITION_DATABASE_URL to a file in a folder that this user may write to.",
        ) from error


def _prepare_sqlite(connection: Any, _record: object = None) -> None:
    # The driver must not begin transactions by itself: _begin_sqlite says which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        # First: the others may have to wait for another process, too.
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        # A commit is on the disk when it returns; NORMAL may lose the last ones with the power.
        "synchronous=FULL",
        "foreign_keys=ON",
        # INSERT OR REPLACE deletes without firing delete triggers unless this is on.
        "recursive_triggers=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    read_only = connection.get_execution_options().get("ignition_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
