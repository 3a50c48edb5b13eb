"""Every earlier revision, with rows in every table, can be brought to this release's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, select, text
from sqlalchemy.types import ARRAY, JSON, Boolean, DateTime, Float, Integer, String, Uuid

from ignition_ext.database import Database
from ignition_ext.models import metadata
from ignition_ext.schema import VERSION_TABLE, head_revision, script_config, upgrade

VIEWS = ("run_history", "delivery_funnel", "failures_by_class", "message_timeline")
STATES = {"campaign_run": "completed", "template_version": "published"}
REMOVED = {("message", "lease_until"), ("message_event", "id")}
"""Columns of earlier revisions that said what stands elsewhere now."""
AT = datetime(2026, 11, 21, 8, tzinfo=UTC)
ID = "0192f0c0c0c070008000000000000001"


def earlier_revisions() -> list[str]:
    scripts = ScriptDirectory.from_config(script_config())
    return sorted(script.revision for script in scripts.walk_revisions())[:-1]


def value(table: Table, name: str, kind: Any) -> Any:
    """A value that the column takes; the same for every table, so that references hold."""
    match kind:
        case Boolean():
            return True
        case Integer() | Float():
            return 1
        case Uuid():
            return ID
        case ARRAY():
            return [ID]
        case DateTime():
            return AT.replace(tzinfo=None) if not kind.timezone else AT
        case JSON():
            return {"channel": "email"}
        case String() if getattr(kind, "length", None) == 32:
            return ID
        case String() if name == "trouble":
            return "login"
        case String() if name == "state":
            return STATES.get(table.name, "sent")
        case String():
            return {"channel": "email", "timezone": "UTC", "locale": "en"}.get(name, "x")
    raise NotImplementedError(f"{table.name}.{name} is of a type that this test cannot fill.")


def tables(connection: Connection) -> list[Table]:
    reflected = MetaData()
    reflected.reflect(connection)
    return [table for table in reflected.sorted_tables if table.name != VERSION_TABLE]


def fill(connection: Connection) -> dict[str, dict[str, Any]]:
    """One row in each table; returns them as the database has them."""
    rows = {}
    for table in tables(connection):
        values = {column.name: value(table, column.name, column.type) for column in table.columns}
        connection.execute(insert(table).values(values))
        rows[table.name] = dict(connection.execute(select(table)).mappings().one())
    return rows


def read(connection: Connection) -> dict[str, dict[str, Any]]:
    return {
        table.name: dict(row)
        for table in tables(connection)
        if (row := connection.execute(select(table)).mappings().one_or_none())
    }


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return list(compare_metadata(context, metadata))


@pytest.mark.parametrize("revision", earlier_revisions())
async def test_an_upgrade_keeps_every_row(empty_database_url: str, revision: str) -> None:
    """What was in a column stays in it, the models fit, the views can be read."""
    database = Database(empty_database_url)
    await upgrade(database, revision)
    async with database.engine.begin() as connection:
        before = await connection.run_sync(fill)

    assert await upgrade(database) == (revision, head_revision())

    async with database.engine.connect() as connection:
        after = await connection.run_sync(read)
        for name, row in before.items():
            kept = {column: row[column] for column in row if (name, column) not in REMOVED}
            assert {column: after[name][column] for column in kept} == kept
        assert await connection.run_sync(differences) == []
        schema = "analytics." if database.dialect == "postgresql" else ""
        for view in VIEWS:
            rows = await connection.execute(text(f"SELECT * FROM {schema}{view}"))
            assert len(rows.all()) <= (2 if view == "message_timeline" else 1)
    await database.close()


async def test_an_upgrade_step_by_step_passes_every_revision(empty_database_url: str) -> None:
    """As a node does that takes every release."""
    database = Database(empty_database_url)
    before = None
    for revision in [*earlier_revisions(), head_revision()]:
        assert await upgrade(database, revision) == (before, revision)
        before = revision

    assert await upgrade(database) == (before, before)
    await database.close()
