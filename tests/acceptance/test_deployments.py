"""The Prefect deployment of a campaign, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse

from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import (
    DeploymentSpec,
    campaign_deployment,
    delete_deployment,
    ensure_deployment,
    find_deployment,
    read_known,
    undo,
)

SCHEDULES = [
    {"cron": "0 8 * * MON-FRI", "timezone": "Europe/Berlin"},
    {"interval": "36h"},
    {"rrule": "FREQ=MONTHLY;BYDAY=1MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0", "active": False},
]


def spec(tenant: str, **changes: Any) -> DeploymentSpec:
    said = {
        "name": "newsletter",
        "tenant": tenant,
        "channel": "email",
        "audience": {"name": "customers"},
        "template": "newsletter",
        "block": "acme-mail",
        "from": "Acme <news@acme.example>",
        "schedules": SCHEDULES,
        "owner": {"name": "Data Team"},
    }
    definition = CampaignDefinition.model_validate(said | changes)
    return campaign_deployment(definition, timezone="Asia/Tokyo")


@pytest.fixture
async def client(prefect: PrefectServer) -> AsyncIterator[PrefectClient]:
    async with prefect_client() as opened:
        yield opened


async def read(client: PrefectClient, wanted: DeploymentSpec) -> DeploymentResponse:
    found = await find_deployment(client, wanted.name)
    assert found is not None
    return found


async def test_a_deployment_has_all_that_a_worker_and_the_ui_need(
    client: PrefectClient, tenant_name: str
) -> None:
    """Entrypoint, pool, form, tags and limit are what the campaign wants; no folder is stored."""
    wanted = spec(tenant_name)
    ensured = await ensure_deployment(client, wanted)

    found = await read(client, wanted)
    assert ensured.created
    assert found.id == ensured.id
    assert found.name == f"{tenant_name}.newsletter"
    assert found.entrypoint == "flows.campaign.campaign"
    assert (found.path, found.pull_steps) == (None, [])
    assert found.work_pool_name == "email"
    assert found.parameters == {"parameters": {"campaign": f"{tenant_name}/newsletter"}}
    assert set(found.tags) == {f"tenant:{tenant_name}", "channel:email", "campaign:newsletter"}
    assert found.global_concurrency_limit is not None
    assert found.global_concurrency_limit.limit == 1
    assert found.concurrency_options is not None
    assert found.concurrency_options.collision_strategy is ConcurrencyLimitStrategy.ENQUEUE
    assert found.parameter_openapi_schema is not None
    form = found.parameter_openapi_schema["definitions"]["CampaignParameters"]["properties"]
    assert {name: field["title"] for name, field in form.items()} == {
        "campaign": "Campaign",
        "limit": "Limit",
        "schedule": "Schedule",
        "dry_run": "Dry run",
        "leg": "Leg",
    }
    assert all(field["description"] for field in form.values())


async def test_schedules_keep_their_zone_and_the_tenants_is_the_default(
    client: PrefectClient, tenant_name: str
) -> None:
    """Each schedule has a slug, a zone and its own switch."""
    wanted = spec(tenant_name)
    await ensure_deployment(client, wanted)

    schedules = {s.slug: s for s in (await read(client, wanted)).schedules}
    assert {slug: (s.schedule.timezone, s.active) for slug, s in schedules.items()} == {
        "cron-1": ("Europe/Berlin", True),
        "interval-2": ("UTC", True),
        "rrule-3": ("Asia/Tokyo", False),
    }


async def test_the_same_again_touches_nothing(client: PrefectClient, tenant_name: str) -> None:
    """Neither the time of change nor a schedule's id nor a scheduled run is another afterwards."""
    wanted = spec(tenant_name)
    await ensure_deployment(client, wanted)
    first = await read(client, wanted)
    scheduled = await client.create_flow_run_from_deployment(first.id)
    again = await ensure_deployment(client, wanted)

    second = await read(client, wanted)
    assert again.changed == ()
    assert second.updated == first.updated
    assert {s.id for s in second.schedules} == {s.id for s in first.schedules}
    runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id={"any_": [scheduled.id]}))
    assert [run.id for run in runs] == [scheduled.id]


async def test_a_change_is_made_and_what_is_the_operators_is_kept(
    client: PrefectClient, tenant_name: str
) -> None:
    """A new schedule replaces the old ones; the pause set in the UI stays set."""
    await ensure_deployment(client, spec(tenant_name))
    before = await read(client, spec(tenant_name))
    await client.pause_deployment(before.id)
    wanted = spec(tenant_name, schedules=[{"cron": "30 9 * * *"}])
    changed = await ensure_deployment(client, wanted)

    after = await read(client, wanted)
    assert changed.changed == ("schedules",)
    assert after.id == before.id
    assert after.paused
    assert [s.schedule.cron for s in after.schedules] == ["30 9 * * *"]


async def test_what_an_operator_switched_off_stays_off(
    client: PrefectClient, tenant_name: str
) -> None:
    """Also when the expression changes; what the file had switched off, the file switches on."""

    def active(deployment: DeploymentResponse) -> dict[str | None, bool]:
        return {schedule.slug: schedule.active for schedule in deployment.schedules}

    wanted = spec(tenant_name, schedules=[{"cron": "0 8 * * *"}, {"interval": "6h"}])
    await ensure_deployment(client, wanted)
    found = await read(client, wanted)
    (cron,) = (s for s in found.schedules if s.slug == "cron-1")
    await client.update_deployment_schedule(found.id, cron.id, active=False)
    assert (await ensure_deployment(client, wanted)).changed == ()

    later = spec(
        tenant_name, schedules=[{"cron": "0 9 * * *"}, {"interval": "6h", "active": False}]
    )
    await ensure_deployment(client, later, was=wanted.schedules)
    assert active(await read(client, later)) == {"cron-1": False, "interval-2": False}

    again = spec(tenant_name, schedules=[{"cron": "0 9 * * *"}, {"interval": "6h"}])
    await ensure_deployment(client, again, was=later.schedules)
    assert active(await read(client, again)) == {"cron-1": False, "interval-2": True}


async def test_what_was_read_of_many_spares_no_operators_pause(
    client: PrefectClient, tenant_name: str
) -> None:
    """New ones are made, equal ones left, and a changed one is read again before it is written."""
    new, same, changed = (spec(tenant_name, name=name) for name in ("new", "same", "changed"))
    await ensure_deployment(client, same)
    await ensure_deployment(client, changed)
    known = await read_known(client, [new.name, same.name, changed.name])
    assert known.deployments.keys() == {same.name, changed.name}
    (cron, *_) = (s for s in (await read(client, changed)).schedules if s.slug == "cron-1")
    await client.update_deployment_schedule(cron.deployment_id, cron.id, active=False)

    later = spec(tenant_name, name="changed", template="other")
    assert (await ensure_deployment(client, new, known=known)).created
    assert (await ensure_deployment(client, same, known=known)).changed == ()
    assert (await ensure_deployment(client, later, known=known)).changed == ("description",)

    found = await read(client, later)
    assert {s.slug: s.active for s in found.schedules}["cron-1"] is False
    assert (await read(client, new)).work_pool_name == "email"


async def test_undo_takes_back_a_new_deployment(client: PrefectClient, tenant_name: str) -> None:
    """What was not there before is not there afterwards."""
    wanted = spec(tenant_name)
    await undo(client, await ensure_deployment(client, wanted), wanted)

    assert await find_deployment(client, wanted.name) is None


async def test_undo_puts_back_what_was_changed(client: PrefectClient, tenant_name: str) -> None:
    """The first deployment stands again, word for word."""
    first = spec(tenant_name)
    await ensure_deployment(client, first)
    second = spec(tenant_name, schedules=[], template="other")
    await undo(client, await ensure_deployment(client, second), second)

    assert (await ensure_deployment(client, first)).changed == ()


async def test_deleting_is_told_whether_there_was_one(
    client: PrefectClient, tenant_name: str
) -> None:
    """The second time there is nothing to delete."""
    wanted = spec(tenant_name)
    await ensure_deployment(client, wanted)

    assert await delete_deployment(client, wanted.name)
    assert not await delete_deployment(client, wanted.name)
