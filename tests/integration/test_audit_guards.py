"""The database itself refuses to change the audit log, whoever connects."""

from __future__ import annotations

import sqlite3
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ignition_ext import audit
from ignition_ext.database import Database
from ignition_ext.tenants import create_tenant

CHANGES = {
    "update": "UPDATE audit_log SET actor = 'mallory'",
    "delete": "DELETE FROM audit_log",
    "upsert": """
        INSERT INTO audit_log (id, tenant_id, seq, at, actor, action, subject,
            previous_hash, hash, signature, key_id)
        SELECT id, tenant_id, seq, at, actor, action, subject,
            previous_hash, hash, signature, key_id FROM audit_log WHERE true
        ON CONFLICT (id) DO UPDATE SET actor = 'mallory'
    """,
    "head-delete": "DELETE FROM audit_head",
    "head-back": "UPDATE audit_head SET seq = seq - 1",
    "head-hash": "UPDATE audit_head SET hash = 'x'",
    "head-tenant": "UPDATE audit_head SET tenant_id = tenant_id + 1",
}
REPLACE = """
    INSERT OR REPLACE INTO audit_log
        (id, tenant_id, seq, at, actor, action, subject, previous_hash, hash)
    SELECT {id}, 1, {seq}, at, 'mallory', '', '', '', '' FROM audit_log
"""
REPLACES = {
    "same-id": REPLACE.format(id=1, seq=99),
    "same-seq": REPLACE.format(id=99, seq=1),
    "no-id": REPLACE.format(id="NULL", seq=1),
    "update-or-replace": "UPDATE OR REPLACE audit_log SET id = 1",
    "head": """
        REPLACE INTO audit_head (tenant_id, seq, hash, signature, key_id) VALUES (1, 0, '', '', '')
    """,
}


async def contents(database: Database) -> list[tuple[object, ...]]:
    async with database.engine.connect() as connection:
        rows = list(await connection.execute(text("SELECT * FROM audit_log ORDER BY id")))
        rows += list(await connection.execute(text("SELECT * FROM audit_head ORDER BY tenant_id")))
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES.keys())
async def test_a_change_is_refused(database: Database, statement: str) -> None:
    """Each statement fails with the database's own words, and nothing has changed."""
    await create_tenant(database, name="acme", actor="test")
    before = await contents(database)

    with pytest.raises(DBAPIError, match="refused"):
        async with database.engine.begin() as connection:
            await connection.execute(text(statement))
    assert await contents(database) == before


@pytest.mark.parametrize(
    "tables", ["audit_log", "audit_head", "tenant CASCADE", "message, audit_log"]
)
async def test_truncate_is_refused(postgres_database_url: str, tables: str) -> None:
    """Also by way of another table."""
    database = Database(postgres_database_url)
    await create_tenant(database, name="acme", actor="test")
    before = await contents(database)

    with pytest.raises(DBAPIError, match="TRUNCATE is refused"):
        async with database.engine.begin() as connection:
            await connection.execute(text(f"TRUNCATE {tables}"))
    assert await contents(database) == before
    await database.close()


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES.keys())
async def test_a_session_that_plays_a_replica_is_refused_as_well(
    postgres_database_url: str, statement: str
) -> None:
    """session_replication_role switches off ordinary triggers, not these."""
    database = Database(postgres_database_url)
    await create_tenant(database, name="acme", actor="test")
    await database.close()

    with psycopg.connect(
        postgres_database_url,
        options="-c search_path=ignition -c session_replication_role=replica",
    ) as connection:
        cursor = connection.cursor()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="refused"):
            cursor.execute(statement.encode())


@pytest.mark.parametrize("recursive_triggers", [True, False], ids=["recursive", "plain"])
@pytest.mark.parametrize("statement", REPLACES.values(), ids=REPLACES.keys())
async def test_replace_is_refused_in_a_file_opened_by_another_program(
    sqlite_database_url: str, statement: str, recursive_triggers: bool
) -> None:
    """INSERT OR REPLACE would delete without firing a delete trigger."""
    database = Database(sqlite_database_url)
    await create_tenant(database, name="acme", actor="test")
    before = await contents(database)

    connection = sqlite3.connect(urlsplit(sqlite_database_url).path)
    connection.execute(f"PRAGMA recursive_triggers = {recursive_triggers:d}")
    with pytest.raises(sqlite3.IntegrityError, match="refused"):
        connection.execute(statement)
    connection.close()
    assert await contents(database) == before
    await database.close()


async def test_the_guards_let_honest_rows_pass(database: Database) -> None:
    """Appending works on, and so does signing a head anew."""
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None

    async with database.write() as session:
        for number in range(3):
            await audit.record(
                session, tenant_id=tenant.id, actor="test", action="a", subject=f"s:{number}"
            )
    [report] = await audit.verify(database, keys=audit.trusted_keys())
    assert (report.holds, report.rows) == (True, 4)
