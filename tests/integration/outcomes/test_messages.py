"""Messages' outcomes are derived from the ledger: all of them, once, whoever commits when."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ignition_ext.database import Database
from ignition_ext.outcomes import messages
from ignition_ext.outcomes.batches import MOST_OUTCOMES
from ignition_ext.values import new_id

URL = "https://hooks.example.com/"
ADD_EVENT = """
    INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state,
                               attempt, code, detail)
    SELECT id, :seq, run_at, tenant_id, {at}, 'sent', 'delivered', 1, '', '' FROM message
     WHERE address = :address
"""


def addresses(count: int) -> list[str]:
    return [f"a{number:04}@example.com" for number in range(count)]


async def test_prefect_is_told_counts_and_webhooks_each_message(world: Any, refused: Any) -> None:
    """One event for each run and state; bodies hold what a receiver needs, in batches."""
    await world.add(URL, "ignition.message.*")
    people = addresses(MOST_OUTCOMES + 30)
    run = await world.run(*people)
    await world.send(run, limit=MOST_OUTCOMES + 20)
    await world.send(run, refused)

    derived = await world.derive()

    assert (derived.changes, derived.deliveries) == (MOST_OUTCOMES + 30, 3)
    events = {row.payload["state"]: row for row in await world.outbox()}
    assert set(events) == {"sent", "failed"}
    sent, failed = events["sent"].payload, events["failed"].payload
    assert (sent["count"], sent["campaign"], sent["run_id"]) == (120, "acme/news", str(run.id))
    assert (failed["count"], failed["failure_classes"]) == (10, {"address": 10})
    assert all(UUID(one) for one in sent["examples"])
    assert all("@" not in json.dumps(row.payload) for row in events.values())
    assert all(row.routed_at is not None and row.told_at is None for row in events.values())
    rows = await world.deliveries()
    assert Counter((row.name, row.outcomes) for row in rows) == {
        ("ignition.message.sent", 100): 1,
        ("ignition.message.sent", 20): 1,
        ("ignition.message.failed", 10): 1,
    }
    assert await world.told() == people
    body = json.loads(next(row.body for row in rows if row.name == "ignition.message.failed"))
    assert body["type"] == "ignition.message.failed"
    message = body["data"]["messages"][0]
    assert (message["code"], message["failure_class"], message["seq"]) == ("550", "address", 1)


async def test_nothing_is_told_twice(world: Any) -> None:
    """The next pass goes on where the last one ended."""
    await world.add(URL)
    run = await world.run(*addresses(6))
    await world.send(run, limit=2)
    assert (await world.derive()).changes == 2
    assert (await world.derive()).changes == 0
    await world.send(run, limit=4)

    passes = await asyncio.gather(*(world.derive() for _ in range(4)))

    assert sum(derived.changes for derived in passes) <= 4
    await world.derive()
    assert await world.told() == addresses(6)


async def test_a_filter_leaves_out_the_rest(world: Any, refused: Any) -> None:
    """A webhook is told what it asked for; one that is off or removed nothing."""
    await world.add(URL, "ignition.message.bounced", "ignition.message.failed")
    run = await world.run(*addresses(4))
    await world.send(run, limit=3)
    await world.send(run, refused)

    await world.derive()

    assert [row.name for row in await world.deliveries()] == ["ignition.message.failed"]


async def test_what_comes_long_after_the_run_is_told(world: Any) -> None:
    """A bounce finds its way although nobody is sending any more."""
    await world.add(URL)
    run = await world.run(*addresses(3))
    await world.send(run)
    await world.derive()
    async with world.database.engine.begin() as connection:
        past = "2026-01-01 00:00:00.000000"
        sqlite = world.database.dialect == "sqlite"
        await connection.execute(
            text(
                "UPDATE campaign_run SET state = 'completed',"
                f" created_at = '{past}', ended_at = '{past}'"
            )
        )
        now = "strftime('%Y-%m-%d %H\\:%M\\:%f000', 'now')" if sqlite else "statement_timestamp()"
        await connection.execute(
            text(ADD_EVENT.format(at=now)), {"seq": 2, "address": "a0001@example.com"}
        )

    assert (await world.derive()).changes == 1
    assert (await world.outbox("ignition.message.delivered"))[0].payload["count"] == 1


async def test_more_than_fits_in_memory_comes_in_spans(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's way reads so much at a time; each message still comes once."""
    monkeypatch.setattr(messages, "MOST_CHANGES", 7)
    await world.add(URL)
    run = await world.run(*addresses(60))
    for _ in range(12):
        await world.send(run, limit=5)

    assert (await world.derive()).changes == 60
    assert await world.told() == addresses(60)


async def test_a_pass_that_fails_has_told_nothing(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told and how far was read are of one transaction."""
    await world.add(URL)
    run = await world.run(*addresses(5))
    await world.send(run)
    with monkeypatch.context() as patched:

        def broken(*_: Any) -> Any:
            raise RuntimeError("killed")

        patched.setattr(messages, "_change", broken)
        with pytest.raises(RuntimeError, match="killed"):
            await world.derive()
    assert await world.deliveries() == []
    assert await world.outbox() == []

    await world.derive()
    assert await world.told() == addresses(5)


async def test_a_transaction_that_takes_long_is_not_missed(postgres_world: Any) -> None:
    """It noted an early time, and commits after others of a later time were told."""
    world = postgres_world
    await world.add(URL)
    await world.run(*addresses(4))
    slow = Database(str(world.database.url.render_as_string(hide_password=False)))
    async with slow.engine.connect() as connection:
        for number, address in enumerate(addresses(2)):
            await connection.execute(
                text(ADD_EVENT.format(at="statement_timestamp() - interval '59 seconds'")),
                {"seq": 1, "address": address},
            )
            told = 0
            async with world.database.engine.begin() as other:
                await other.execute(
                    text(ADD_EVENT.format(at="statement_timestamp()")),
                    {"seq": 1, "address": addresses(4)[2 + number]},
                )
            for _ in range(40):  # more passes than marks are kept for
                told += (await world.derive()).changes
            assert told == 1
        await connection.commit()
    await slow.close()

    assert (await world.derive()).changes == 2
    assert (await world.derive()).changes == 0
    assert await world.told() == addresses(4)


async def test_a_database_from_another_server_goes_on(postgres_world: Any) -> None:
    """Restored elsewhere its transactions have other numbers: time bounds what is told again."""
    world = postgres_world
    await world.add(URL)
    run = await world.run(*addresses(2))
    await world.send(run, limit=1)
    await world.derive()
    async with world.database.engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE outcome_cursor SET position = jsonb_set(position, '{snapshot}',"
                " '\"900000000000:900000000000:\"') WHERE name = 'messages'"
            )
        )
    await world.send(run, limit=1)

    assert (await world.derive()).changes == 1
    assert (await world.derive()).changes == 0


async def test_a_clock_that_was_set_back_hides_nothing(sqlite_world: Any) -> None:
    """On SQLite the clock says how far was read: rather twice than never."""
    world = sqlite_world
    await world.add(URL)
    run = await world.run(*addresses(2))
    async with world.database.engine.begin() as connection:
        await connection.execute(
            text("UPDATE outcome_cursor SET moved_at = '2099-01-01 00:00:00.000000'")
        )
    await world.send(run)

    assert (await world.derive()).changes == 2
    assert (await world.derive()).changes == 0


async def test_the_newest_are_found_without_reading_the_table(world: Any) -> None:
    """By block range on PostgreSQL; on SQLite by an index that what is sent is not in."""
    statements = messages._POSTGRES if world.database.dialect == "postgresql" else messages._SQLITE
    prefix = "EXPLAIN " if world.database.dialect == "postgresql" else "EXPLAIN QUERY PLAN "
    now = "2026-01-01 00:00:00.000000"
    parameters: dict[str, Any] = {"since": now, "until": now, "first_id": new_id().hex}
    if world.database.dialect == "postgresql":
        since = messages._time(now) + timedelta(0)
        parameters = {"since": since, "seen_below": 1, "running": [5], "epoch": 0, "newest": 9}
    async with world.database.engine.begin() as connection:
        if world.database.dialect == "postgresql":
            for setting in messages.PLAN:
                await connection.execute(text(setting))
        found = await connection.execute(text(prefix + statements["count_changes"]), parameters)
        plan = "\n".join(str(row) for row in found)

    assert "ix_message_event_at" in plan
    if world.database.dialect == "sqlite":
        assert "SCAN message_event" not in plan
        assert "PRIMARY KEY (message_id>?)" in plan
    else:
        assert "Seq Scan on message" not in plan
