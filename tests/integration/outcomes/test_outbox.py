"""The outbox: what is announced stands or falls with the change that it tells of."""

from __future__ import annotations

import pytest
from sqlmodel import select

from ignition_ext.database import Database
from ignition_ext.models import OutboxEvent
from ignition_ext.outcomes import Announcement, EventName, announce
from ignition_ext.tenants import create_tenant


async def outbox(database: Database) -> list[OutboxEvent]:
    async with database.read() as session:
        return list((await session.exec(select(OutboxEvent).order_by("id"))).all())


@pytest.fixture
async def tenant_id(database: Database) -> int:
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    return tenant.id


def opted_out(tenant_id: int, number: int) -> Announcement:
    return Announcement(
        tenant_id=tenant_id,
        name=EventName.RECIPIENT_OPTED_OUT,
        subject=f"recipient:{number}",
        payload={"channel": "sms", "nested": {"list": [1, None, "ü"]}},
        private={"address": "+4930123456"},
    )


async def test_what_is_announced_waits_for_both_readers(database: Database, tenant_id: int) -> None:
    """Each announcement is a row, neither routed to webhooks nor told to Prefect."""
    async with database.write() as session:
        await announce(session, [opted_out(tenant_id, number) for number in range(3)])

    rows = sorted(await outbox(database), key=lambda row: row.subject)
    assert [row.subject for row in rows] == ["recipient:0", "recipient:1", "recipient:2"]
    assert {row.name for row in rows} == {"ignition.recipient.opted_out"}
    assert rows[0].payload == {"channel": "sms", "nested": {"list": [1, None, "ü"]}}
    assert rows[0].private == {"address": "+4930123456"}
    assert all(row.routed_at is None and row.told_at is None for row in rows)


async def test_a_change_that_fails_announces_nothing(database: Database, tenant_id: int) -> None:
    """The rows are of the caller's transaction."""

    async def change() -> None:
        async with database.write() as session:
            await announce(session, [opted_out(tenant_id, 1)])
            raise RuntimeError("the change went wrong")

    with pytest.raises(RuntimeError):
        await change()

    assert await outbox(database) == []


async def test_long_subjects_are_cut_and_nothing_is_nothing(
    database: Database, tenant_id: int
) -> None:
    """No change fails over its own description."""
    long = Announcement(tenant_id=tenant_id, name=EventName.RUN_STOPPED, subject="x" * 1000)
    async with database.write() as session:
        await announce(session, [])
        await announce(session, [long])

    (row,) = await outbox(database)
    assert row.subject == "x" * 300
