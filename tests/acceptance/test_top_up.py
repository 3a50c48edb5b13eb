"""Schedules that end are renewed on a real Prefect server, and what it missed is made up for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, VariableCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import campaign_deployment, ensure_deployment
from ignition_ext.orchestration.missed import SEEN, catch_up
from ignition_ext.orchestration.runs_ahead import make_runs
from ignition_ext.orchestration.top_up import top_up
from ignition_ext.tenants import create_tenant

pytestmark = pytest.mark.timeout(600)
BERLIN = {"timezone": "Europe/Berlin"}
DAILY = {"cron": "0 8 * * *"}
Made = Counter[tuple[str, datetime]]


@dataclass
class Stage:
    client: PrefectClient
    database: Database
    tenant: str
    deployment_id: UUID | None = None

    async def apply(self, *schedules: dict[str, Any], make_runs: bool = True) -> None:
        definition = CampaignDefinition.model_validate(
            {
                "name": "news",
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
        self.deployment_id = (await ensure_deployment(self.client, spec)).id
        async with self.database.write() as session:
            await store.set_deployment(session, applied.campaign_id, self.deployment_id)
        if make_runs:
            await self.make_runs()

    async def make_runs(self) -> None:
        """What Prefect's scheduler does sooner or later."""
        path = {"id": str(self.deployment_id)}
        await self.client.request("POST", "/deployments/{id}/schedule", path_params=path, json={})

    async def deployment(self) -> DeploymentResponse:
        assert self.deployment_id is not None
        return await self.client.read_deployment(self.deployment_id)

    async def runs(self) -> list[FlowRun]:
        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[self.deployment_id]))
        return await self.client.read_flow_runs(deployment_filter=chosen, limit=200)

    async def made(self) -> Made:
        """How many runs each schedule has for each of its times."""
        found: Made = Counter()
        for run in await self.runs():
            assert run.expected_start_time is not None
            maker = (run.created_by and run.created_by.display_value) or ""
            found[maker, run.expected_start_time] += 1
        return found


@pytest.fixture
async def stage(
    prefect: PrefectServer, sqlite_database_url: str, tenant_name: str
) -> AsyncIterator[Stage]:
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    async with prefect_client() as client:
        made = Stage(client, database, tenant_name)
        yield made
        if made.deployment_id is not None:
            await client.delete_deployment(made.deployment_id)
    await database.close()


async def test_what_ends_is_renewed_and_no_run_is_lost_or_doubled(stage: Stage) -> None:
    """Prefect drops the runs of all schedules when one changes; they are there again at once."""
    await stage.apply(DAILY, {"quartz": "0 30 2 * * ?", **BERLIN}, {"cron": "* * * * *"})
    before = await stage.deployment()
    runs = await stage.made()
    now = datetime.now(UTC)
    assert await top_up(stage.database, stage.client, now=now) == []

    (done,) = await top_up(stage.database, stage.client, now=now + timedelta(days=190))

    assert (done.reference, done.renewed) == (f"{stage.tenant}/news", ("quartz-2",))
    after = await stage.deployment()
    schedules = {one.slug: one for one in after.schedules}
    old = {one.slug: one for one in before.schedules}
    assert schedules["cron-1"] == old["cron-1"]
    assert schedules["quartz-2"].id == old["quartz-2"].id
    assert schedules["quartz-2"].schedule != old["quartz-2"].schedule
    kept = await stage.made()
    assert set(kept.values()) == {1}
    # How far ahead is the server's affair, and moves with the clock.
    near = now + timedelta(minutes=50)
    assert {one for one in runs if one[0] != "quartz-2" and one[1] < near} <= set(kept)


async def test_a_run_that_waits_for_a_worker_survives_a_renewal(stage: Stage) -> None:
    """Prefect drops also those that are due when a schedule is deleted."""
    await stage.apply({"quartz": "0 30 2 * * ?", **BERLIN}, {"cron": "* * * * *"})
    deployment, now = await stage.deployment(), datetime.now(UTC)
    await make_runs(stage.client, deployment.id, since=now - timedelta(minutes=4))
    late = {one for one in await stage.made() if one[1] < now}
    assert len(late) >= 4
    surplus = next(one for one in deployment.schedules if one.slug == "quartz-1")
    await stage.client.create_deployment_schedules(
        deployment.id,
        [DeploymentScheduleCreate(schedule=surplus.schedule, slug="quartz-1-old")],
    )

    (done,) = await top_up(stage.database, stage.client, now=now)

    assert done.renewed == ("quartz-1",)
    assert "quartz-1-old" not in {one.slug for one in (await stage.deployment()).schedules}
    kept = await stage.made()
    assert {one: kept[one] for one in late} == dict.fromkeys(late, 1)


async def test_a_change_loses_no_run_of_the_next_minutes(stage: Stage) -> None:
    """They are there as soon as the change is, not when Prefect's scheduler comes by."""
    await stage.apply({"cron": "0 8 * * *"}, make_runs=False)

    await stage.apply({"cron": "* * * * *"}, make_runs=False)

    made = await stage.made()
    assert min(at for _, at in made) <= datetime.now(UTC) + timedelta(minutes=1)
    assert set(made.values()) == {1}


async def test_what_is_dense_is_renewed_with_its_second_passes(stage: Stage) -> None:
    """Both parts; one that an operator switched off stays so."""
    await stage.apply({"quartz": "0/10 * * * * ?", **BERLIN})
    deployment = await stage.deployment()
    main = next(one for one in deployment.schedules if one.slug == "quartz-1")
    await stage.client.update_deployment_schedule(deployment.id, main.id, active=False)
    clocks = next(one for one in deployment.schedules if one.slug == "quartz-1-clocks")
    await stage.client.delete_deployment_schedule(deployment.id, clocks.id)

    now = datetime.now(UTC) + timedelta(days=31)
    (done,) = await top_up(stage.database, stage.client, now=now)

    assert done.renewed == ("quartz-1",)
    found = {one.slug: one.active for one in (await stage.deployment()).schedules}
    assert found == {"quartz-1": False, "quartz-1-clocks": False}
    assert await top_up(stage.database, stage.client, now=now) == []


async def test_a_paused_campaign_is_renewed_and_stays_still(stage: Stage) -> None:
    """No run is made of it."""
    await stage.apply({"quartz": "0 30 2 * * ?", **BERLIN})
    deployment = await stage.deployment()
    await stage.client.pause_deployment(deployment.id)

    (done,) = await top_up(stage.database, stage.client, now=datetime.now(UTC) + timedelta(190))

    assert done.renewed == ("quartz-1",)
    assert await stage.runs() == []


@pytest.fixture
async def outage(stage: Stage) -> AsyncIterator[datetime]:
    """The server was last seen now; whoever looks later finds that it was down since."""
    now = datetime.now(UTC)
    if await stage.client.read_variable_by_name(SEEN) is not None:
        await stage.client.delete_variable_by_name(SEEN)
    await stage.client.create_variable(VariableCreate(name=SEEN, value=now.isoformat()))
    yield now
    await stage.client.delete_variable_by_name(SEEN)


@pytest.mark.parametrize(
    ("misfire", "made"), [("run_all", 7), ("run_once", 1), ("skip", 0), (None, 0)]
)
async def test_what_the_server_missed_is_made_up_for(
    stage: Stage, outage: datetime, misfire: str | None, made: int
) -> None:
    """By each schedule's rule; what Prefect had made ahead is there already, of ten days three."""
    await stage.apply({**DAILY, "misfire": misfire})
    assert len(await stage.runs()) == 3

    later = outage + timedelta(days=10)
    await asyncio.gather(*(catch_up(stage.database, stage.client, now=later) for _ in range(2)))

    runs = await stage.runs()
    assert len(runs) == 3 + made
    times = [run.expected_start_time for run in runs]
    assert len(set(times)) == len(times)
    assert all(time is not None and time.hour == 8 for time in times)
    named = [run.parameters["parameters"].get("schedule") for run in runs if not run.auto_scheduled]
    assert named == ["cron-1"] * made
    assert await catch_up(stage.database, stage.client, now=later) == {}


async def test_a_pause_and_a_short_gap_are_no_outage(stage: Stage, outage: datetime) -> None:
    """Nobody wants the runs of a week's pause when it ends."""
    await stage.apply({**DAILY, "misfire": "run_all"}, {"cron": "* * * * *", "misfire": "run_all"})
    deployment = await stage.deployment()
    runs = len(await stage.runs())
    soon = outage + timedelta(minutes=4)
    assert await catch_up(stage.database, stage.client, now=soon) == {}
    await stage.client.pause_deployment(deployment.id)

    assert await catch_up(stage.database, stage.client, now=outage + timedelta(days=10)) == {}
    assert len(await stage.runs()) <= runs
