"""Renews schedules in Prefect that end or that have become slow to read, long before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse

from ignition_ext.campaigns import store
from ignition_ext.campaigns.schedule import ScheduleSpec, main_slug, schedule_slug
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.database import Database
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.runs_ahead import make_runs, waits_since
from ignition_ext.orchestration.schedules import Timetable
from ignition_ext.orchestration.timetables import read_timetable
from ignition_ext.schedules.cron import CronSchedule

AT_ONCE = 100
"""Deployments that are read in one request: each may bring thousands of dates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToppedUp:
    """A campaign of which schedules were renewed, by their names."""

    reference: str
    renewed: tuple[str, ...]


async def top_up(database: Database, client: PrefectClient, *, now: datetime) -> list[ToppedUp]:
    """Renew what is due, and what the tenant's holidays or new rules of a zone have changed.

    Safe in any number at once: what is written depends on the schedule and the time alone.
    """
    done = []
    async for campaign, deployment in campaigns_on_server(database, client, _may_end):
        async with database.read() as session:
            timetable = await read_timetable(session, campaign.definition, campaign.tenant, now=now)
        renewed = await _renew(client, deployment, timetable, now)
        if renewed:
            done.append(ToppedUp(reference=campaign.reference, renewed=tuple(renewed)))
    return done


async def campaigns_on_server(
    database: Database, client: PrefectClient, wanted: Callable[[ScheduleSpec], bool]
) -> AsyncIterator[tuple[StoredCampaign, DeploymentResponse]]:
    """Campaigns that have such a schedule, with their deployments; few requests for many."""
    async with database.read() as session:
        found = {
            campaign.campaign.prefect_deployment_id: campaign
            for campaign in await store.list_campaigns(session)
            if any(wanted(spec) for spec in campaign.definition.schedules)
        }
    ids = [id_ for id_ in found if id_ is not None]
    for first in range(0, len(ids), AT_ONCE):
        chosen = DeploymentFilterId(any_=ids[first : first + AT_ONCE])
        for deployment in await client.read_deployments(
            deployment_filter=DeploymentFilter(id=chosen), limit=AT_ONCE
        ):
            yield found[deployment.id], deployment


def _may_end(spec: ScheduleSpec) -> bool:
    """Whether its form in Prefect may have to be renewed."""
    if spec.cron is not None:
        cron = CronSchedule.parse(spec.cron)
        return cron.prefect_skips_march and cron.as_rule() is None
    return spec.quartz is not None or spec.calendar is not None


async def _renew(
    client: PrefectClient, deployment: DeploymentResponse, timetable: Timetable, now: datetime
) -> list[str]:
    ending = {
        schedule_slug(number, spec)
        for number, spec in enumerate(timetable.specs, start=1)
        if _may_end(spec)
    }
    there = {one.slug: one for one in deployment.schedules if main_slug(one.slug) in ending}
    wanted = {
        one.slug: one
        for one in timetable.prefect(now, deployment.schedules)
        if main_slug(one.slug) in ending
    }
    changed = [slug for slug, one in wanted.items() if not _same(there.get(slug), one)]
    gone = [one for slug, one in there.items() if slug not in wanted]
    if not changed and not gone:
        return []
    since = utc_now()
    if gone:
        since = min(since, await waits_since(client, deployment.id, since) or since)
    for slug in changed:
        await _write(client, deployment, there, wanted[slug])
    for schedule in gone:
        await client.delete_deployment_schedule(deployment.id, schedule.id)
    if not deployment.paused:
        await make_runs(client, deployment.id, since=since)
    return sorted({main_slug(slug) for slug in (*changed, *(one.slug for one in gone))})


async def _write(
    client: PrefectClient,
    deployment: DeploymentResponse,
    there: Mapping[str | None, DeploymentSchedule],
    wanted: DeploymentScheduleCreate,
) -> None:
    """Change the schedule, or add it beside its main one; whether it is active stays."""
    old = there.get(wanted.slug)
    if old is not None:
        await client.update_deployment_schedule(
            deployment.id, old.id, schedule=wanted.schedule, parameters=old.parameters
        )
        return
    main = there.get(main_slug(wanted.slug))
    active = wanted.active if main is None else main.active
    await client.create_deployment_schedules(
        deployment.id, [wanted.model_copy(update={"active": active})]
    )


def _same(there: DeploymentSchedule | None, wanted: DeploymentScheduleCreate) -> bool:
    return there is not None and there.schedule.model_dump(
        mode="json"
    ) == wanted.schedule.model_dump(mode="json")
