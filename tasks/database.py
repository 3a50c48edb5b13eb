"""Ignition's database for the length of one task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from ignition_ext.database import Database
from ignition_ext.schema import database_errors, require_current
from ignition_ext.settings import Settings


class FlowDatabase:
    """One database for all tasks of a flow run that run in its event loop, opened once.

    To open it takes eight statements and 15 ms, which each task would take anew.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.keeps_connections = True
        self._database: Database | None = None
        self._opening = asyncio.Lock()
        self._users = 0

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Database]:
        """The database, opened where it is not yet."""
        async with self._opening:
            database = self._database = self._database or await _opened()
        self._users += 1
        try:
            with database_errors(database):
                yield database
        finally:
            self._users -= 1
            if not (self._users or self.keeps_connections):
                await self.let_go()

    async def let_go(self) -> None:
        """Close its connections; it opens others when it is used again."""
        if self._database is not None and not self._users:
            await self._database.close()


_of_flow: ContextVar[FlowDatabase | None] = ContextVar("ignition_flow_database", default=None)


@asynccontextmanager
async def one_database() -> AsyncIterator[None]:
    """Have the tasks of this block share their database."""
    shared = FlowDatabase()
    token = _of_flow.set(shared)
    try:
        yield
    finally:
        _of_flow.reset(token)
        await shared.let_go()


async def keep_no_connections() -> None:
    """From now on close the flow's connections after each use: what follows may take for long.

    PostgreSQL has room for some hundred connections, not for one that each run leaves idle while
    it sends or waits.
    """
    shared = _of_flow.get()
    if shared is not None and shared.keeps_connections:
        shared.keeps_connections = False
        await shared.let_go()


@asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    """The database that IGNITION_DATABASE_URL names; each event loop needs one of its own.

    Raises:
        DatabaseError: it is away (also later on), or at another revision than this release.
    """
    shared = _of_flow.get()
    if shared is not None and shared.loop is asyncio.get_running_loop():
        async with shared.lend() as database:
            yield database
        return
    database = await _opened()
    try:
        with database_errors(database):
            yield database
    finally:
        await database.close()


async def _opened() -> Database:
    database = Database(Settings().database_url)
    try:
        await require_current(database)
    except BaseException:
        await database.close()
        raise
    return database
