"""Brings the database to this release's schema, and says whether it is there.

Alembic owns the schema. An upgrade is idempotent and runs in one transaction behind a lock, so
that two nodes may start it at once: the second waits and finds nothing to do.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from ignition_ext.database import POSTGRES_SCHEMA, Database
from ignition_ext.errors import DatabaseError

UPGRADE_LOCK = 0x49474E4954494F4E
"""The advisory lock's key on PostgreSQL: "IGNITION" in ASCII."""


def script_config() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def head_revision() -> str:
    """The revision that this release works with."""
    head = ScriptDirectory.from_config(script_config()).get_current_head()
    assert head is not None
    return head


async def upgrade(database: Database, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema up; returns the revision before and after.

    Raises:
        DatabaseError: the database cannot be reached, or is newer than this release.
    """
    try:
        async with database.engine.begin() as connection:
            return await connection.run_sync(_upgrade, revision)
    except OperationalError as error:
        raise DatabaseError(
            f"the database {database.url!r} does not answer: {error.orig}",
            mend="Check IGNITION_DATABASE_URL and that the server runs.",
        ) from error


def _upgrade(connection: Connection, revision: str) -> tuple[str | None, str | None]:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {POSTGRES_SCHEMA}"))
    before = _current(connection)
    config = script_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    return before, _current(connection)


async def current_revision(database: Database) -> str | None:
    """The revision that the database is at, None when it has no tables of ours."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(_current)


def _current(connection: Connection) -> str | None:
    on_postgres = connection.dialect.name == "postgresql"
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table": "ignition_schema_version",
            "version_table_schema": POSTGRES_SCHEMA if on_postgres else None,
        },
    )
    return context.get_current_revision()


async def require_current(database: Database) -> None:
    """Check that the schema is at this release's revision.

    Raises:
        DatabaseError: it is not, or the database cannot be reached.
    """
    try:
        revision = await current_revision(database)
    except OperationalError as error:
        raise DatabaseError(
            f"the database {database.url!r} does not answer: {error.orig}",
            mend="Check IGNITION_DATABASE_URL and that the server runs.",
        ) from error
    if revision != head_revision():
        raise DatabaseError(
            f"the database {database.url!r} is at revision {revision or 'none'},"
            f" this release needs {head_revision()}.",
            mend="Run: ignition db upgrade",
        )
