"""Ignition's database for the length of one task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ignition_ext.database import Database
from ignition_ext.schema import database_errors, require_current
from ignition_ext.settings import Settings


@asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    """The database that IGNITION_DATABASE_URL names; each event loop needs one of its own.

    Raises:
        DatabaseError: it is away (also later on), or at another revision than this release.
    """
    database = Database(Settings().database_url)
    try:
        await require_current(database)
        with database_errors(database):
            yield database
    finally:
        await database.close()
