"""What commands share: settings, an open database, who is acting."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import Database
from ignition_ext.errors import IgnitionError
from ignition_ext.schema import database_errors, require_current
from ignition_ext.settings import Settings

T = TypeVar("T")


def actor(settings: Settings | None = None) -> str:
    """Who is named in the audit log: IGNITION_ACTOR, else the operating system's user."""
    return (settings or Settings()).actor or f"cli:{getpass.getuser()}"


@asynccontextmanager
async def open_database(settings: Settings | None = None) -> AsyncIterator[Database]:
    """Ignition's database, at this release's revision.

    Raises:
        DatabaseError: it is away or at another revision.
    """
    database = Database((settings or Settings()).database_url)
    try:
        await require_current(database)
        with database_errors(database):
            yield database
    finally:
        await database.close()


async def ask(settings: Settings, question: Callable[[AsyncSession], Awaitable[T]]) -> T | None:
    """What a check reads of the database; None where that cannot be asked, which its own tells."""
    try:
        async with open_database(settings) as database, database.read() as session:
            return await question(session)
    except IgnitionError:
        return None
