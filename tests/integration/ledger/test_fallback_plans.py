"""Looking for emails that fall back reads the few that changed, however large the run is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from ignition_ext.ledger import fallback_runs
from ignition_ext.ledger.sqlite import stored
from ignition_ext.ledger.statements import load_statements
from ignition_ext.values import Outcome

INDEX = "ix_message_event_undelivered"
SENT, REFUSED = 3000, 3


@pytest.fixture
async def seeded(scene: Any, accepted: Any, refused: Outcome) -> tuple[Any, Any]:
    """A run whose emails were sent, but for a few."""
    run = await scene.run(*(f"u{number}@example.com" for number in range(SENT)))
    lease = await scene.ledger.claim(run, limit=SENT, lease=timedelta(minutes=1))
    keys = [message.id for message in lease.messages]
    await scene.ledger.intend(run, lease.id, keys)
    for key in keys[:REFUSED]:
        await scene.settle(run, lease.id, key, refused)
    time = "strftime('%Y-%m-%d %H\\:%M\\:%f000', 'now')"
    if scene.database.dialect == "postgresql":
        time = "now()"
    await scene.execute(
        "INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state,"
        f" attempt, code, detail) SELECT id, 1, run_at, tenant_id, {time}, 'sending', 'sent', 1,"
        " '250', '' FROM message WHERE state = 'sending'"
    )
    await scene.execute(
        "UPDATE message SET state = 'sent', seq = 1, lease_id = NULL WHERE state = 'sending'"
    )
    await scene.ledger.release(run, lease.id)
    return scene, run


@asynccontextmanager
async def _driver(database: Any) -> AsyncIterator[Any]:
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
        "at": run.run_at,
        "after": UUID(int=0),
        "until": None,
        "limit": 2000,
    }


@pytest.mark.parametrize("has_statistics", [True, False], ids=["analysed", "new"])
async def test_a_page_is_found_by_its_index(seeded: tuple[Any, Any], has_statistics: bool) -> None:
    """Of 3,000 emails the three that were refused are visited, each looked up by its key."""
    scene, run = seeded
    if has_statistics:
        await scene.execute("ANALYZE")
    async with _driver(scene.database) as connection:
        if scene.database.dialect == "sqlite":
            text = load_statements("fallback.sqlite.sql")["find_fallbacks"]
            values = {key: stored(value) for key, value in parameters(run).items()}
            rows = await connection.execute_fetchall(f"EXPLAIN QUERY PLAN {text}", values)
            plan = [row[3] for row in rows]
            assert INDEX in plan[0], plan
            assert (
                "(run_at=? AND at>?" in plan[0] or "(run_at=? AND (at,message_id)>(?,?)" in plan[0]
            )
            (message,) = [line for line in plan if line.startswith("SEARCH m ")]
            assert "id=?" in message, plan
            assert not any("SCAN" in line for line in plan), plan
            return
        text = load_statements("fallback.postgresql.sql")["find_fallbacks"]
        cursor = await connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {text}".encode(), parameters(run)
        )
        ((document,),) = await cursor.fetchall()
    nodes = walk(document[0]["Plan"])
    (scan,) = [node for node in nodes if node.get("Index Name") == INDEX]
    assert scan["Actual Rows"] == REFUSED, document
    assert not any(
        node["Node Type"] == "Seq Scan" and node["Actual Loops"]
        for node in nodes
        if node.get("Relation Name") in ("message", "message_event")
    ), document


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node] + [below for child in node.get("Plans", []) for below in walk(child)]


@pytest.mark.parametrize("name", ["add_fallbacks", "note_fallbacks", "queue_fallbacks"])
async def test_each_text_message_is_looked_up_by_itself(seeded: tuple[Any, Any], name: str) -> None:
    """Whatever the planner knows of the run: by keys, or by its number among the run's own."""
    scene, run = seeded
    keys = [uuid4() for _ in range(3)]
    values: dict[str, Any] = {"run_at": run.run_at, "cause": "failed"}
    async with _driver(scene.database) as connection:
        if scene.database.dialect == "sqlite":
            values |= {"id": keys[0], "email_id": keys[1], "sms_run_id": keys[2], "ids": keys}
            text = load_statements("fallback.sqlite.sql")[name]
            values = {key: stored(value) for key, value in values.items()}
            rows = await connection.execute_fetchall(f"EXPLAIN QUERY PLAN {text}", values)
            plan = "\n".join(row[3] for row in rows)
            assert "SCAN m" not in plan
            assert "SCAN s" not in plan
            by_number = "(run_id=? AND channel=? AND address=?"
        else:
            values = {key: [value] * 3 for key, value in values.items()}
            values |= {"id": keys, "email_id": keys, "sms_run_id": keys, "ids": keys}
            text = load_statements("fallback.postgresql.sql")[name]
            cursor = await connection.execute(f"EXPLAIN {text}".encode(), values)
            plan = "\n".join(row[0] for row in await cursor.fetchall())
            # What is found by ids alone may be fetched in the order of its pages.
            whole = "Seq Scan on message " if name == "queue_fallbacks" else "Scan on message "
            assert whole not in plan, plan
            assert re.search(r"Index Cond: \(+id = ", plan), plan
            by_number = "AND ((channel)::text = 'sms'::text) AND ((address)::text = "
    assert (by_number in plan) == (name == "note_fallbacks"), plan


async def test_each_minutes_look_reads_no_run(seeded: tuple[Any, Any]) -> None:
    """Whether a run has anything new is one look into the index."""
    scene, _ = seeded
    await scene.execute("ANALYZE")
    kind = sqlite if scene.database.dialect == "sqlite" else postgresql
    query = fallback_runs._QUERY.where(fallback_runs._FALLBACKS.c.closed_at.is_(None))
    text = str(query.compile(dialect=kind.dialect(), compile_kwargs={"literal_binds": True}))
    explain = "EXPLAIN QUERY PLAN" if scene.database.dialect == "sqlite" else "EXPLAIN"
    plan = "\n".join(str(row) for row in await scene.execute(f"{explain} {text}"))

    assert INDEX in plan
    for table in ("message", "message_event", "message_due"):
        assert f"Seq Scan on {table} " not in plan, plan
        assert f"SCAN {table}" not in plan, plan
