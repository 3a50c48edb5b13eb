"""Every earlier revision, with rows in every table, can be brought to this release's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, select, text
from sqlalchemy.types import (
    ARRAY,
    JSON,
    Boolean,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    String,
    Uuid,
)

from ignition_ext.database import Database
from ignition_ext.models import metadata
from ignition_ext.schema import VERSION_TABLE, head_revision, script_config, upgrade

VIEWS = ("run_history", "delivery_funnel", "failures_by_class", "message_timeline")
STATES = {
    "campaign_run": "completed",
    "chain_release": "waiting",
    "template_version": "published",
    "webhook_delivery": "pending",
    "webhook_endpoint": "enabled",
}
STATES_UNDER_WAY = ("pending", "deferred", "claimed", "sending", "sent")
REMOVED = {("message", "lease_until"), ("message_event", "id")}
"""Columns of earlier revisions that said what stands elsewhere now."""
AT = datetime(2026, 11, 21, 8, tzinfo=UTC)
ID = "0192f0c0c0c070008000000000000001"
CHECKED = {
    ("rate_card", "valid_to"): AT.replace(year=2027),
    ("rate_card_entry", "kind"): "prefix",
    ("run_cost", "kind"): "actual",
    ("tracking_event", "kind"): "open",
}
"""Columns that take certain values only."""
SEEDED = {"outcome_cursor"}
"""Tables that a revision fills itself."""


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
        case LargeBinary():
            return b"x"
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
    others = {VERSION_TABLE, *SEEDED}
    return [table for table in reflected.sorted_tables if table.name not in others]


def fill(connection: Connection) -> dict[str, dict[str, Any]]:
    """One row in each table; returns them as the database has them."""
    rows = {}
    for table in tables(connection):
        values = {
            column.name: CHECKED.get((table.name, column.name))
            or value(table, column.name, column.type)
            for column in table.columns
        }
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


MESSAGE = """
INSERT INTO message (id, run_at, tenant_id, run_id, channel, address, domain, data, state, seq,
    attempts, resends, not_before, lease_id, lease_until, code, enhanced, detail, provider_id,
    parts, created_at, updated_at)
VALUES (:id, :at, 1, :run, 'email', :state, '', '{}', :state, 3, 0, 0, :at, :lease, :until,
    '', '', '', '', 0, :at, :at)
"""
EVENT = """
INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
    attempt, code, detail)
VALUES (:id, :at, 1, :message, :seq, :at, :old, :new, 0, '', '')
"""
STEPS = ["", "pending", "claimed", "sending"]


async def test_messages_under_way_are_found_in_their_new_places(empty_database_url: str) -> None:
    """What waited is due, what was leased is leased, what happened is still told."""
    database = Database(empty_database_url)
    await upgrade(database, "0006")
    postgres = database.dialect == "postgresql"
    at = AT if postgres else "2026-11-21 08:00:00.000000"
    keys = {state: f"{number:032x}" for number, state in enumerate(STATES_UNDER_WAY, 1)}
    async with database.engine.begin() as connection:
        for state, key in keys.items():
            leased = state in ("claimed", "sending")
            lease = {"lease": ID if leased else None, "until": at if leased else None}
            await connection.execute(
                text(MESSAGE), {"id": key, "at": at, "run": ID, "state": state, **lease}
            )
        for seq, (old, new) in enumerate(pairwise(STEPS), 1):
            values = {"id": f"{seq:032x}", "at": at, "message": keys["sending"], "seq": seq}
            await connection.execute(text(EVENT), {**values, "old": old, "new": new})

    await upgrade(database)

    async with database.engine.connect() as connection:
        due = await connection.execute(text("SELECT id, not_before FROM message_due"))
        assert {plain(key) for key, _ in due} == {keys["pending"], keys["deferred"]}
        ((lease, held),) = await connection.execute(
            text("SELECT id, message_ids FROM sender_lease")
        )
        held = json.loads(held) if isinstance(held, str) else held
        assert plain(lease) == ID
        assert {plain(key) for key in held} == {keys["claimed"], keys["sending"]}
        events = await connection.execute(
            text("SELECT seq, old_state, new_state FROM message_event ORDER BY seq")
        )
        assert [tuple(row) for row in events] == [
            (1, "pending", "claimed"),
            (2, "claimed", "sending"),
        ]
        numbers = await connection.execute(text("SELECT state, seq FROM message"))
        assert {state: seq for state, seq in numbers if seq} == {"sending": 2}
    await database.close()


def plain(key: object) -> str:
    return str(key).replace("-", "")
