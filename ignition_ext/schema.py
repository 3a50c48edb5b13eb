"""Brings the database to this release's schema, and says whether it is there.

Alembic owns the schema. An upgrade is idempotent and runs in one transaction behind a lock, so
that two nodes may start it at once: the second waits and finds nothing to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from ignition_ext.database import BUSY_TIMEOUT_MS, POSTGRES_SCHEMA, Database
from ignition_ext.errors import DatabaseError

UPGRADE_LOCK = 0x49474E4954494F4E
"""The advisory lock's key on PostgreSQL: "IGNITION" in ASCII."""

VERSION_TABLE = "ignition_schema_version"
"""Not Alembic's usual name: on SQLite someone may keep Prefect's tables in the same file."""
PATH_IS_SET = """
    SELECT EXISTS (
        SELECT FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
        WHERE setting LIKE 'search_path=%'
            AND s.setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
            AND s.setdatabase IN
                (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    )
"""
SET_PATH = """
    DO $$ BEGIN EXECUTE format(
        'ALTER ROLE CURRENT_USER IN DATABASE %I SET search_path = public', current_database()
    ); END $$
"""
ANALYST_ROLE = "ignition_analyst"
MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = MIGRATIONS / "versions"


def analyst_role_script(role: str = ANALYST_ROLE) -> str:
    """The SQL that makes a PostgreSQL role which reads the analysts' views and nothing else."""
    script = (MIGRATIONS / "views" / "analyst_role.sql").read_text()
    return script.replace(ANALYST_ROLE, role)


def script_config() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def head_revision() -> str:
    """The revision that this release works with."""
    head, _ = _revisions()
    return head


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest revision and all that this release knows, by the names of their files.

    Alembic would run each script for it, in each flow run's new process.
    """
    known = sorted(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9]*_*.py"))
    return known[-1], frozenset(known)


async def upgrade(database: Database, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema up; returns the revision before and after.

    Raises:
        DatabaseError: the database cannot be reached, is no database of ours, or is newer than
            this release.
    """
    with database_errors(database):
        async with database.engine.begin() as connection:
            return await connection.run_sync(_upgrade, database, revision)


def _upgrade(
    connection: Connection, database: Database, revision: str
) -> tuple[str | None, str | None]:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        # IF NOT EXISTS wants the right to create even where somebody has made it for us.
        if connection.scalar(text(f"SELECT to_regnamespace('{POSTGRES_SCHEMA}')")) is None:
            connection.execute(text(f"CREATE SCHEMA {POSTGRES_SCHEMA}"))
        _keep_others_in_public(connection)
    before = _current(connection)
    _refuse_newer(database, before)
    config = script_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    return before, _current(connection)


def _keep_others_in_public(connection: Connection) -> None:
    """Keep Prefect's new tables in ``public`` when both log in as the user ``ignition``.

    By default search_path begins with "$user": from now on that would be our schema. Our own
    connections say their path; a path that someone set for this user is left alone.
    """
    if connection.scalar(text("SELECT current_user")) != POSTGRES_SCHEMA:
        return
    if not connection.scalar(text(PATH_IS_SET)):
        connection.execute(text(SET_PATH))


async def current_revision(database: Database) -> str | None:
    """The revision that the database is at, None when it has no tables of ours."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(_current)


def _current(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


async def require_current(database: Database) -> None:
    """Check that the schema is at this release's revision, and that we may use the database.

    Raises:
        DatabaseError: it is not, the database cannot be reached, or it is SQLite and in use on
            another host.
    """
    database.require_one_host()
    with database_errors(database):
        revision = await current_revision(database)
    _refuse_newer(database, revision)
    if revision != head_revision():
        raise DatabaseError(
            f"the database {database.url!r} is at revision {revision or 'none'},"
            f" this release needs {head_revision()}.",
            mend="Run: ignition db upgrade",
        )


def _refuse_newer(database: Database, revision: str | None) -> None:
    _, known = _revisions()
    if revision is not None and revision not in known:
        raise DatabaseError(
            f"the database {database.url!r} is at revision {revision}, which this release does not"
            f" know: its newest is {head_revision()}.",
            mend="Install the release of prefect-ignition that upgraded it, or a later one.",
        )


DRIVER_ERRORS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlite3.OperationalError,
)
"""What the ledger's hot path meets, which speaks to the drivers without SQLAlchemy."""


@contextmanager
def database_errors(database: Database) -> Iterator[None]:
    """Turn the driver's errors into one clear :class:`DatabaseError`; names no password.

    A constraint that does not hold is a mistake of ours and passes unchanged.
    """
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, *DRIVER_ERRORS) as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())
        if "database is locked" in reason:
            raise DatabaseError(
                f"{database.url.database} is locked: another process has been writing to it for"
                f" {BUSY_TIMEOUT_MS // 1000} s.",
                mend="Try again; a backup or a shell may hold it. PostgreSQL has no such lock.",
            ) from error
        if "not a database" in reason:
            raise DatabaseError(
                f"{database.url.database} is not an SQLite database.",
                mend="Set IGNITION_DATABASE_URL to another file; this one was left as it is.",
            ) from error
        if "disk is full" in reason or "No space left" in reason:
            raise DatabaseError(
                f"the disk under the database {database.url!r} is full: {reason}.",
                mend="Make space there. Nothing that was stored is lost, and what was not sent is"
                " sent when the run goes on or is retried.",
            ) from error
        raise DatabaseError(
            f"the database {database.url!r} cannot be used: {reason}",
            mend=(
                "Check IGNITION_DATABASE_URL (file, host, user, password), that the server runs"
                " and what the user may do there."
            ),
        ) from error
