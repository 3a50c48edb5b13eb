"""Makes the runs that Prefect did not make, because its server was down at their time.

Prefect makes runs ahead, at least an hour and three of them; what comes after those while its
server is down is never made. Every look writes down when it was: a time at which nobody looked is
one at which the server may have been down. So a pause, and a run that somebody deleted, is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Scheduled

from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.schedule import Misfire, ScheduleSpec
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.database import Database
from ignition_ext.orchestration.timetables import read_timetable
from ignition_ext.orchestration.top_up import campaigns_on_server
from ignition_ext.schedules.misfire import missed_times

SEEN = "ignition_schedules_seen"
"""The Prefect variable that says when schedules were last looked after."""
OUTAGE = timedelta(minutes=5)
"""A shorter gap between two looks is none: Prefect's runs are made further ahead than that."""
FARTHEST = timedelta(days=31)
MOST = 100
"""Runs made for one schedule; it is as many as Prefect makes ahead."""
PAGE = 200
"""Prefect answers at most this many flow runs a request."""


async def catch_up(
    database: Database, client: PrefectClient, *, now: datetime
) -> dict[str, Sequence[datetime]]:
    """Make the missed runs of schedules whose ``misfire`` is run_once or run_all.

    Safe in any number at once: each run has a key, and Prefect makes one for it.

    Returns:
        By campaign the times that runs were made for.
    """
    seen = await _seen(client)
    made: dict[str, Sequence[datetime]] = {}
    if seen is not None and now - seen > OUTAGE:
        since = max(seen, now - FARTHEST)
        async for campaign, deployment in campaigns_on_server(database, client, _is_made_up_for):
            if not deployment.paused:
                times = await _make(database, client, campaign, deployment, since, now)
                if times:
                    made[campaign.reference] = times
    await _look(client, seen, now)
    return made


def _is_made_up_for(spec: ScheduleSpec) -> bool:
    return spec.misfire in (Misfire.RUN_ONCE, Misfire.RUN_ALL)


async def _make(
    database: Database,
    client: PrefectClient,
    campaign: StoredCampaign,
    deployment: DeploymentResponse,
    since: datetime,
    now: datetime,
) -> list[datetime]:
    async with database.read() as session:
        timetable = await read_timetable(session, campaign.definition, campaign.tenant, now=now)
    there = {one.slug: one for one in deployment.schedules}
    known: set[datetime] | None = None
    made = []
    for slug, spec, written, where in timetable.named():
        schedule = there.get(slug)
        if schedule is None or not schedule.active or not _is_made_up_for(spec):
            continue
        begin = max(since, schedule.created or since)
        most = 1 if spec.misfire is Misfire.RUN_ONCE else MOST
        times = missed_times(written.schedule, where, begin, now, most=most)
        if times and known is None:
            known = await _known(client, deployment.id, since, now)
        for at in times:
            if at not in (known or ()):
                await _create(client, campaign.reference, deployment.id, slug, at)
                made.append(at)
    return sorted(made)


async def _known(
    client: PrefectClient, deployment_id: UUID, since: datetime, until: datetime
) -> set[datetime]:
    """The times that the deployment has runs for, however they ended."""
    found: set[datetime] = set()
    read = 0
    while True:
        page = await client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
            flow_run_filter=FlowRunFilter(
                expected_start_time=FlowRunFilterExpectedStartTime(after_=since, before_=until)
            ),
            limit=PAGE,
            offset=read,
        )
        read += len(page)
        found |= {run.expected_start_time for run in page if run.expected_start_time is not None}
        if len(page) < PAGE:
            return found


async def _create(
    client: PrefectClient, reference: str, deployment_id: UUID, slug: str, at: datetime
) -> None:
    parameters = CampaignParameters(campaign=reference, schedule=slug)
    await client.create_flow_run_from_deployment(
        deployment_id,
        parameters={"parameters": parameters.model_dump(mode="json", exclude_defaults=True)},
        state=Scheduled(scheduled_time=at, message="Made up for: the server was down."),
        idempotency_key=f"ignition-missed {deployment_id} {slug} {at.isoformat()}",
    )


async def _seen(client: PrefectClient) -> datetime | None:
    variable = await client.read_variable_by_name(SEEN)
    return None if variable is None else datetime.fromisoformat(str(variable.value))


async def _look(client: PrefectClient, seen: datetime | None, now: datetime) -> None:
    value = now.isoformat()
    if seen is None:
        await client.create_variable(VariableCreate(name=SEEN, value=value, tags=["ignition"]))
    elif now > seen:
        await client.update_variable(VariableUpdate(name=SEEN, value=value))
