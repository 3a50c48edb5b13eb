"""Runs and changes of the configuration are announced from what other tables hold; old rows go."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text

from ignition_ext import audit
from ignition_ext.outcomes import Announcement, EventName, announce
from ignition_ext.outcomes.endpoints import add_test
from ignition_ext.outcomes.happenings import announce_changes, announce_runs
from ignition_ext.outcomes.keeping import remove_old
from ignition_ext.tenants import create_tenant, set_tenant_setting


async def test_runs_are_announced_when_they_begin_and_end(world: Any) -> None:
    """Each once, with what the run came to; Prefect has events of its own for them."""
    run = await world.run("a@example.com")
    assert await announce_runs(world.database) == 1
    async with world.database.engine.begin() as connection:
        await connection.execute(
            text("UPDATE campaign_run SET state = 'failed', state_reason = 'no server'")
        )
    await asyncio.gather(*(announce_runs(world.database) for _ in range(3)))
    assert await announce_runs(world.database) == 0

    rows = await world.outbox()
    told = {row.name: row.payload for row in rows}
    assert len(rows) == 2
    assert set(told) == {"ignition.campaign.started", "ignition.campaign.failed"}
    failed = told["ignition.campaign.failed"]
    assert (failed["campaign"], failed["reason"]) == ("acme/news", "no server")
    assert failed["run_id"] == str(run.id)
    assert all(row.told_at is not None and row.routed_at is None for row in rows)


async def test_changes_of_the_configuration_are_announced(world: Any) -> None:
    """In order, once, for each tenant, with the names of what changed and no values."""
    await announce_changes(world.database)
    before = len(await world.outbox())
    await set_tenant_setting(
        world.database, tenant="acme", key="throttle.per_second", value=5, actor="jane"
    )
    other = await create_tenant(world.database, name="other", actor="joe")
    async with world.database.write() as session:
        await audit.record(
            session,
            tenant_id=world.tenant_id,
            actor="joe",
            action="run.cancelled",
            subject="run:1",
        )

    await asyncio.gather(*(announce_changes(world.database) for _ in range(3)))
    assert await announce_changes(world.database) == 0

    rows = (await world.outbox("ignition.configuration.changed"))[before:]
    told = {(row.tenant_id, row.payload["action"], row.payload["actor"]) for row in rows}
    assert told == {
        (world.tenant_id, "tenant.setting_changed", "jane"),
        (other.id, "tenant.created", "joe"),
    }
    assert len(rows) == 2
    assert all("before" not in row.payload and row.payload["fields"] for row in rows)


async def test_old_rows_are_removed(world: Any) -> None:
    """Told or not, delivered or not: nobody is told of last week's."""
    added = await world.add("https://hooks.example.com/")
    event = Announcement(tenant_id=world.tenant_id, name=EventName.RUN_STOPPED, subject="run:1")
    for _ in range(2):
        await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
        async with world.database.write() as session:
            await announce(session, [event])
    old = "0000018b" + "0" * 4
    async with world.database.engine.begin() as connection:
        for table in ("outbox_event", "webhook_delivery"):
            key = f"'{old}70008000000000000000'"
            if world.database.dialect == "postgresql":
                key += "::uuid"
            first = f"SELECT id FROM {table} ORDER BY id LIMIT 1"
            await connection.exec_driver_sql(f"UPDATE {table} SET id = {key} WHERE id = ({first})")

    assert await remove_old(world.database, days=7) == 2
    assert await remove_old(world.database, days=7) == 0
    assert (len(await world.outbox()), len(await world.deliveries())) == (1, 1)
