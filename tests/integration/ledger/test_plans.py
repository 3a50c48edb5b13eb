"""The hot statements use their indexes, on rows enough that a planner has to think."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.database import Database
from ignition_ext.ledger.postgres import PostgresWork
from ignition_ext.ledger.sqlite import stored
from ignition_ext.ledger.statements import load_statements
from ignition_ext.values import Channel, MessageState

ROWS = 3000
POSTGRES = tuple(
    f"{name}.postgresql.sql" for name in ("message", "lease", "part", "wishes", "held", "fallback")
)


@pytest.fixture
async def seeded(scene: Any) -> tuple[Any, Any]:
    """A big run that is over, another that is open, and SMS segments, with statistics taken."""
    done = await scene.run(*(f"d{number}@example.com" for number in range(ROWS)))
    await scene.ledger.cancel_open(done, MessageState.CANCELLED)
    phones = [f"+4917{number:08}" for number in range(ROWS)]
    run = await scene.run(*phones, channel=Channel.SMS)
    await scene.claim(run, 50)
    await scene.execute(
        "INSERT INTO message_part (message_id, part, run_at, tenant_id, parts, bind, provider_id,"
        " provider_key, state, code, detail, updated_at) SELECT id, 1, run_at, tenant_id, 1,"
        " 'b', address, address, 'sent', '', '', updated_at FROM message"
    )
    await scene.execute(
        "INSERT INTO receipt (id, received_at, channel, bind, provider_id, provider_key,"
        " id_format, address, status, code, final, raw) SELECT id, updated_at, channel, 'b',"
        " address, address, 'auto', address, '', '', 1 = 1, '' FROM message"
    )
    await scene.execute("ANALYZE")
    return scene, run


@asynccontextmanager
async def _driver(database: Database) -> AsyncIterator[Any]:
    """A connection as the ledger uses them, in a transaction that leaves nothing behind."""
    if database.hot is not None:
        async with database.hot.take() as connection:
            await connection.execute("BEGIN")
            yield connection
        return
    async with database.driver() as connection:
        yield connection
        await connection.rollback()


def parameters(run: Any) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "run_at": run.run_at,
        "lease_id": uuid4(),
        "lease": timedelta(minutes=1),
        "limit": 100,
        "ids": [uuid4() for _ in range(100)],
        "binds": ["b"],
        "keys": [f"+4917{number:08}" for number in range(100)],
        "channel": "sms",
        "address": "+49170000",
        "addresses": [f"+4917{number:08}" for number in range(100)],
        "states": [],
        "bind": "b",
        "told": "{" + ",".join(uuid4().hex for _ in range(100)) + "}",
        **dict.fromkeys(("code", "enhanced", "detail", "provider_ids"), ""),
        **dict.fromkeys(("codes", "enhanceds", "details")),
        "parts": [],
        "tenant_id": 1,
        "room": None,
    }


HOT = [
    ("claim_due", "find_due", "message_due_pkey"),
    ("read_next", "read_next", "message_due_pkey"),
    ("turn", "note_accepted", "message_pkey"),
    ("has_receipts", "has_receipts", "ix_receipt_unmatched"),
    ("find_parts", "find_parts", "ix_message_part_provider"),
    ("find_receipts", "find_receipts", "ix_receipt_provider"),
    ("list_messages", "list_messages", "uq_message_address"),
]


async def test_hot_statements_use_their_indexes(seeded: tuple[Any, Any]) -> None:
    """EXPLAIN names the index, and no table of the hot path is read whole."""
    scene, run = seeded
    async with _driver(scene.database) as connection:
        for postgres, sqlite, index in HOT:
            if scene.database.dialect == "sqlite":
                plan = await sqlite_plan(connection, sqlite, run)
                # SQLite names the indexes of keys and constraints by itself.
                expected = index if index.startswith("ix_") else "id=?"
            else:
                plan, expected = await postgres_plan(connection, postgres, run), index

            assert expected in plan, plan
            for table in ("message", "message_part"):
                assert f"Seq Scan on {table} " not in plan, plan
                assert f"SCAN {table}" not in plan, plan


async def test_a_snapshot_looks_its_addresses_up(seeded: tuple[Any, Any]) -> None:
    """A batch never reads the run that it is added to: a snapshot's time grows with its size."""
    scene, run = seeded
    async with _driver(scene.database) as connection:
        if scene.database.dialect == "sqlite":
            # As in a database that was never analysed, which a first run meets.
            await connection.execute("DELETE FROM sqlite_stat1")
            await connection.execute("ANALYZE sqlite_schema")
            plan = await sqlite_plan(connection, "find_known", run)
            assert "(run_id=? AND channel=? AND address=?" in plan
            return
        work = PostgresWork(connection)
        await work.fetch("create_stage")
        assert "Scan on message" not in await postgres_plan(connection, "add_staged", run)
        plan = await postgres_plan(connection, "cut_stage", run)
    lookup = r"Index Cond: \(\(run_id = .*\(channel\)::text = .*s\.channel.*\(address\)::text = "
    assert re.search(lookup, plan), plan


BY_ID = (
    "claim_due",
    "lock_held",
    "lock_ids",
    "queue_held",
    "queue_fallbacks",
)


@pytest.fixture
async def forgotten(seeded: tuple[Any, Any]) -> tuple[Any, Any]:
    """The same, and PostgreSQL takes the table for empty: all that was in it was deleted."""
    scene, run = seeded
    if scene.database.dialect == "sqlite":
        pytest.skip("SQLite's statements say in which order tables are read")
    await scene.execute("ALTER TABLE message SET (autovacuum_enabled = off)")
    await scene.execute("UPDATE pg_class SET reltuples = 0 WHERE oid = 'message'::regclass")
    return scene, run


@pytest.mark.parametrize("name", BY_ID)
async def test_messages_are_found_by_id_whatever_the_planner_believes(
    forgotten: tuple[Any, Any], name: str
) -> None:
    """Nothing goes through a run to find some of its messages, also right after a great purge."""
    scene, run = forgotten
    async with _driver(scene.database) as connection:
        cursor = await connection.execute(
            f"EXPLAIN (FORMAT JSON) {load_statements(*POSTGRES)[name]}".encode(), parameters(run)
        )
        ((document,),) = await cursor.fetchall()
    nodes = walk(document[0]["Plan"])
    assert ("Seq Scan", "message") not in [(n["Node Type"], n.get("Relation Name")) for n in nodes]
    conditions = [
        node.get("Index Cond", "")
        for node in nodes
        if node.get("Index Name") in ("message_pkey", "uq_message_address")
    ]
    assert conditions
    assert all(condition.lstrip("(").startswith("id = ") for condition in conditions), conditions


async def test_a_turn_looks_its_messages_up_once_a_snapshot_is_finished(
    forgotten: tuple[Any, Any],
) -> None:
    """What the planner believes is set right before the first message is claimed."""
    scene, run = forgotten
    async with _driver(scene.database) as connection:
        before = await postgres_plan(connection, "turn", run)
    await scene.ledger.finish_snapshot(run, skipped=0, rejected=0, duplicates=0)
    async with _driver(scene.database) as connection:
        after = await postgres_plan(connection, "turn", run)

    lookup = r"Index Cond: \(\(id = c"
    assert not re.search(lookup, before), before
    assert len(re.findall(lookup, after)) == 2, after


async def test_a_vacuum_under_way_fails_no_snapshot(forgotten: tuple[Any, Any]) -> None:
    """It has the table's lock, for hours perhaps; the statistics are left to it."""
    scene, run = forgotten
    async with _driver(scene.database) as connection:
        await connection.execute("LOCK TABLE message IN SHARE UPDATE EXCLUSIVE MODE")
        await scene.ledger.finish_snapshot(run, skipped=7, rejected=0, duplicates=0)
        cursor = await connection.execute("SELECT max(skipped) FROM campaign_run")
        assert await cursor.fetchall() == [(7,)]


async def sqlite_plan(connection: Any, name: str, run: Any) -> str:
    statements = load_statements("message.sqlite.sql", "lease.sqlite.sql", "part.sqlite.sql")
    values = {key: stored(value) for key, value in parameters(run).items()}
    rows = await connection.execute_fetchall(f"EXPLAIN QUERY PLAN {statements[name]}", values)
    return "\n".join(row[3] for row in rows).replace("SCAN m ", "SCAN message ")


async def postgres_plan(connection: Any, name: str, run: Any) -> str:
    statements = load_statements(*POSTGRES)
    cursor = await connection.execute(
        f"EXPLAIN (FORMAT TEXT) {statements[name]}".encode(), parameters(run)
    )
    return "\n".join(row[0] for row in await cursor.fetchall())


async def test_a_claim_reads_no_more_rows_than_it_takes(seeded: tuple[Any, Any]) -> None:
    """Of 10,000 messages a claim of 100 visits about 100, however many were settled before."""
    scene, run = seeded
    if scene.database.dialect == "sqlite":
        async with _driver(scene.database) as connection:
            plan = await sqlite_plan(connection, "find_due", run)
        assert "USE TEMP B-TREE" not in plan
        return
    statements = load_statements(*POSTGRES)
    async with _driver(scene.database) as connection:
        cursor = await connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statements['claim_due']}".encode(), parameters(run)
        )
        ((document,),) = await cursor.fetchall()
    nodes = walk(document[0]["Plan"])
    scans = [node for node in nodes if node.get("Index Name") == "message_due_pkey"]
    assert [node["Actual Rows"] for node in scans] == [100]


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node] + [below for child in node.get("Plans", []) for below in walk(child)]
