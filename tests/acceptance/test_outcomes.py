"""What happened arrives in Prefect: as events that its automations react to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.outcomes import outcomes
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.outcome_events import tell_prefect
from ignition_ext.outcomes import Announcement, EventName, announce
from ignition_ext.tenants import create_tenant

BOUND_SECONDS = 300


@pytest.fixture
def ignition_url(sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    return sqlite_database_url


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.2)


async def events_of(client: PrefectClient, resource: str, name: str) -> list[dict[str, Any]]:
    body = {
        "filter": {"any_resource": {"id": [resource]}, "event": {"name": [name]}},
        "limit": 50,
    }
    answer = await client.request("POST", "/events/filter", json=body)
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def opted_out(tenant_id: int) -> Announcement:
    return Announcement(
        tenant_id=tenant_id,
        name=EventName.RECIPIENT_OPTED_OUT,
        subject="recipient:17",
        payload={"channel": "sms"},
        private={"address": "+4930123456"},
    )


async def test_an_automation_reacts_to_an_outcome(
    prefect: PrefectServer, ignition_url: str, tenant_name: str
) -> None:
    """The flow tells Prefect what was announced, without what is private, and once."""
    database = Database(ignition_url)
    tenant = await create_tenant(database, name=tenant_name, actor="test")
    assert tenant.id is not None
    resource = f"ignition.tenant.{tenant_name}"
    trigger = EventTrigger(
        expect={EventName.RECIPIENT_OPTED_OUT.value},
        match_related={"prefect.resource.id": resource},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    async with prefect_client() as client:
        automation: UUID = await client.create_automation(
            AutomationCore(name=tenant_name, trigger=trigger, actions=[DoNothing()])
        )
        async with database.write() as session:
            await announce(session, [opted_out(tenant.id)])

        state: Any = await outcomes(return_state=True)
        assert state.is_completed(), state.message
        assert "2 events told to Prefect" in state.message  # the tenant was created, too

        key = f"prefect-cloud.automation.{automation}"
        names = ("prefect.automation.triggered", "prefect.automation.action.executed")

        async def reacted() -> bool:
            for one in (key, f"prefect.automation.{automation}"):
                if any([await events_of(client, one, name) for name in names]):
                    return True
            return False

        await until(reacted)
        (event,) = await events_of(client, resource, EventName.RECIPIENT_OPTED_OUT.value)
        assert event["payload"] == {"channel": "sms"}
        assert event["resource"]["prefect.resource.id"] == f"ignition.recipient.{tenant_name}.17"
        assert await tell_prefect(database, client) == 0
        await client.delete_automation(automation)
    await database.close()


async def test_an_event_that_is_posted_again_is_one(
    prefect: PrefectServer, ignition_url: str, tenant_name: str
) -> None:
    """Whoever told it died before it was noted: the id is the same."""
    database = Database(ignition_url)
    tenant = await create_tenant(database, name=tenant_name, actor="test")
    assert tenant.id is not None
    resource = f"ignition.tenant.{tenant_name}"
    async with database.write() as session:
        await announce(session, [opted_out(tenant.id)])
    async with prefect_client() as client:
        assert await tell_prefect(database, client) == 1
        await until(lambda: events_of(client, resource, EventName.RECIPIENT_OPTED_OUT.value))
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("UPDATE outbox_event SET told_at = NULL")
        async with database.write() as session:
            last = Announcement(tenant_id=tenant.id, name=EventName.RUN_STOPPED, subject="run:1")
            await announce(session, [last])
        assert await tell_prefect(database, client) == 2

        await until(lambda: events_of(client, resource, EventName.RUN_STOPPED.value))
        told = await events_of(client, resource, EventName.RECIPIENT_OPTED_OUT.value)
    assert len(told) == 1
    await database.close()
