"""No statement that failed on SQLite lets the event loop wait for another connection's lock."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ignition_ext.database import Database
from ignition_ext.sqlite_cursors import PLUGIN

pytestmark = pytest.mark.timeout(120)
SECONDS = 20
"""What SQLite waits for a lock; without these cursors the garbage collector waits as long."""


async def locked_out(engine: AsyncEngine, begin: str) -> None:
    """A connection waits for the lock of another while what is left of its failure is collected.

    Args:
        engine: its connections begin no transaction for a PRAGMA, or one that can write.
        begin: the statement with which they begin one that can write.
    """
    async with engine.connect() as waiter, engine.connect() as holder:
        for connection in (waiter, holder):
            await connection.exec_driver_sql(f"PRAGMA busy_timeout={SECONDS * 1000}")
            await connection.rollback()
        await waiter.exec_driver_sql("CREATE TABLE things (key INTEGER PRIMARY KEY)")
        await waiter.exec_driver_sql("INSERT INTO things VALUES (1)")
        with pytest.raises(IntegrityError) as failure:
            await waiter.exec_driver_sql("INSERT INTO things VALUES (1)")
        await waiter.commit()
        await holder.exec_driver_sql(begin)
        waiting = asyncio.create_task(waiter.exec_driver_sql(begin))
        await asyncio.sleep(0.2)
        del failure
        gc.collect()
        await holder.rollback()
        await waiting  # "database is locked" where the collection took all its time
        await waiter.rollback()


async def test_ignitions_database(sqlite_database_url: str) -> None:
    """Its connections close what failed."""
    database = Database(sqlite_database_url)
    await locked_out(database.engine, "SELECT 1")
    await database.close()


async def test_prefects_server(tmp_path: Path) -> None:
    """It makes its engine from a URL, which can name a plugin."""
    url = f"sqlite+aiosqlite:///{tmp_path}/prefect.db?plugin={PLUGIN}"
    engine = await AioSqliteConfiguration(connection_url=url).engine()
    await locked_out(engine, "BEGIN IMMEDIATE")
    await engine.dispose()


async def test_many_rows_at_once_that_fail(tmp_path: Path) -> None:
    """``executemany`` tells of its failure as ever, and the connection goes on."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db?plugin={PLUGIN}")
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE things (key INTEGER PRIMARY KEY)")
        with pytest.raises(IntegrityError):
            await connection.exec_driver_sql("INSERT INTO things VALUES (?)", [(1,), (1,)])
        found = await connection.exec_driver_sql("SELECT count(*) FROM things")
        assert found.scalar_one() == 1
    await engine.dispose()
