"""What will run, as `ignition campaign upcoming` and the artifact in Prefect's UI show it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient

from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import campaign_deployment, ensure_deployment
from ignition_ext.orchestration.upcoming import read_upcoming, upcoming_markdown
from ignition_ext.tenants import create_tenant
from tasks import show_upcoming as module
from tasks.show_upcoming import KEY, show_upcoming

pytestmark = pytest.mark.timeout(600)
NOW = datetime(2027, 3, 20, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@flow(name="show-upcoming", persist_result=False)
async def shown() -> None:
    """The task, in a flow run as `reconcile` is one."""
    await show_upcoming()


@dataclass
class Stage:
    client: PrefectClient
    database: Database
    tenant: str

    async def apply(self, name: str, *schedules: dict[str, Any]) -> None:
        definition = CampaignDefinition.model_validate(
            {
                "name": name,
                "tenant": self.tenant,
                "channel": "email",
                "audience": {"csv": "people.csv"},
                "template": "news",
                "block": "mail",
                "from": "Acme <news@acme.example>",
                "schedules": list(schedules),
            }
        )
        applied = await store.apply(self.database, definition, base_path=Path("/"), actor="test")
        spec = campaign_deployment(definition, timezone="UTC")
        ensured = await ensure_deployment(self.client, spec)
        async with self.database.write() as session:
            await store.set_deployment(session, applied.campaign_id, ensured.id)

    async def pause(self, name: str) -> None:
        deployment = await self.client.read_deployment_by_name(f"campaign/{self.tenant}.{name}")
        await self.client.pause_deployment(deployment.id)


@pytest.fixture
async def stage(
    prefect: PrefectServer, database: Database, tenant_name: str
) -> AsyncIterator[Stage]:
    async with prefect_client() as client:
        await create_tenant(database, name=tenant_name, actor="test")
        yield Stage(client, database, tenant_name)


@pytest.fixture
async def busy_stage(stage: Stage) -> Stage:
    """A daily schedule over a change of the clock, one of each hour, two that are switched off."""
    await stage.apply("daily", {"cron": "0 8 * * *", "timezone": "Europe/Berlin"})
    await stage.apply("hourly", {"every": "hour"}, {"cron": "5 5 * * *", "active": False})
    await stage.apply("paused", {"cron": "0 9 * * *"})
    await stage.pause("paused")
    return stage


async def test_every_schedule_is_counted_to_the_horizon(busy_stage: Stage) -> None:
    """Times are those of the schedule's wall; what is off has none; many are counted to 100."""
    found = await read_upcoming(
        busy_stage.database, busy_stage.client, now=NOW, tenant=busy_stage.tenant
    )
    by_name = {(one.campaign.partition("/")[2], one.schedule): one for one in found}
    daily = by_name["daily", "cron-1"]
    assert len(daily.times) == 100
    assert not daily.has_more
    assert {at.astimezone(BERLIN).hour for at in daily.times} == {8}
    assert {at.hour for at in daily.times} == {6, 7}

    hourly = by_name["hourly", "every-1"]
    assert (len(hourly.times), hourly.has_more) == (100, True)
    assert hourly.times[0] == NOW + timedelta(hours=1)
    for off in (by_name["hourly", "cron-2"], by_name["paused", "cron-1"]):
        assert (off.is_paused, off.times) == (True, [])


async def test_the_page_has_each_day_and_each_schedule(busy_stage: Stage) -> None:
    """A hundred days with their runs; the schedules that are paused say so."""
    found = await read_upcoming(
        busy_stage.database, busy_stage.client, now=NOW, tenant=busy_stage.tenant
    )
    page = upcoming_markdown(found, NOW)
    tenant = busy_stage.tenant
    assert "200 runs of 3 campaigns within 100 days from 2027-03-20 12:00" in page
    assert f"**Sun 2027-06-27** (1): 06:00 {tenant}/daily" in page.splitlines()
    first = next(line for line in page.splitlines() if "Sun 2027-03-21" in line)
    assert first.startswith(f"**Sun 2027-03-21** (25): 00:00 {tenant}/hourly, 01:00")
    assert f"| {tenant}/paused | cron-1 | paused | 0 |" in page
    assert "100+ |" in page


async def test_the_artifact_is_brought_up_to_date_in_place(
    stage: Stage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not each minute: when something was edited and the page is not of this very moment."""
    await stage.apply("first", {"cron": "0 8 * * *"})
    monkeypatch.setenv("IGNITION_DATABASE_URL", database_url)
    monkeypatch.setattr(module, "AT_MOST_EVERY", timedelta(0))
    await shown()
    made = await Artifact.aget(KEY)
    assert made is not None
    assert f"{stage.tenant}/first" in str(made.data)

    await shown()
    again = await Artifact.aget(KEY)
    assert again is not None
    assert (again.id, again.updated) == (made.id, made.updated)

    await stage.apply("second", {"cron": "0 9 * * *"})
    await shown()
    later = await Artifact.aget(KEY)
    assert later is not None
    assert later.id == made.id
    assert f"{stage.tenant}/second" in str(later.data)
