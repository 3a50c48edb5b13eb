"""The Prefect deployment of a campaign: ``campaign/<tenant>.<name>``.

It is compared before it is written: Prefect replaces schedules and drops the runs that they made
whenever a deployment is posted, also when nothing in it changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from ignition_ext.campaigns.definition import CampaignDefinition, Overlap, Priority
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.schedule import main_slug
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.runs_ahead import make_runs
from ignition_ext.orchestration.schedules import Timetable

FLOW = "campaign"
ENTRYPOINT = "flows.campaign.campaign"
"""Dotted: a worker imports the installed package, wherever it was deployed from."""
CONCURRENCY = {Overlap.QUEUE: 1, Overlap.SKIP: 10, Overlap.CANCEL_RUNNING: 10}
"""Runs of one campaign at once. The second waits its turn, for it would only share the rate;
where it shall not wait, it has to begin to find out that another is under way."""


def form(parameters: CampaignParameters) -> None:
    """The signature of the flow, for the form that the UI draws.

    Args:
        parameters: Which campaign, and how much of it.
    """


@cache
def _form_schema() -> dict[str, Any]:
    return parameter_schema(form).model_dump_for_openapi()


SCHEDULER = timedelta(minutes=2)
"""Prefect's scheduler has looked at what changed by then, usually within five seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """What of a deployment is Ignition's; the rest (pause, job variables) is the operator's."""

    name: str
    description: str
    tags: Sequence[str]
    pool: str
    parameters: Mapping[str, Any]
    schema: Mapping[str, Any]
    schedules: Sequence[DeploymentScheduleCreate]
    queue: str = Priority.DEFAULT.value
    concurrency: int = CONCURRENCY[Overlap.QUEUE]
    entrypoint: str = ENTRYPOINT
    timetable: Timetable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensured:
    """A deployment after it was brought in step; ``before`` is None when it is new."""

    id: UUID
    changed: tuple[str, ...]
    before: DeploymentResponse | None

    @property
    def created(self) -> bool:
        """Whether there was none before."""
        return self.before is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What Prefect had of many deployments a moment ago, so that not each has to be asked for.

    Attributes:
        flow_id: of the flow ``campaign``.
        names: those that were asked for.
        deployments: those that were there, by name.
    """

    flow_id: UUID
    names: frozenset[str] = frozenset()
    deployments: Mapping[str, DeploymentResponse] = field(default_factory=dict)


def deployment_name(reference: str) -> str:
    """``acme.newsletter`` for ``acme/newsletter``."""
    return reference.replace("/", ".")


def campaign_deployment(definition: CampaignDefinition, *, timezone: str) -> DeploymentSpec:
    """The deployment that a campaign wants; ``timezone`` is its tenant's."""
    now = utc_now()
    timetable = Timetable(
        specs=definition.schedules,
        timezone=timezone,
        applied_at=now,
    )
    owner = f" Owner: {definition.owner.name}." if definition.owner else ""
    blocks = f"block {definition.block}"
    if definition.sms is not None:
        blocks = f"blocks {definition.block} and {definition.sms.block}"
    return DeploymentSpec(
        name=deployment_name(definition.reference),
        description=(
            f"The {definition.channel} campaign {definition.reference}:"
            f" template {definition.template}, {blocks}.{owner}"
        ),
        tags=definition.all_tags,
        pool=definition.message_channel.value,
        queue=definition.priority.value,
        concurrency=CONCURRENCY[definition.on_overlap],
        parameters={"parameters": {"campaign": definition.reference}},
        schema=_form_schema(),
        schedules=timetable.prefect(now),
        timetable=timetable,
    )


async def find_deployment(client: PrefectClient, name: str) -> DeploymentResponse | None:
    """The deployment of that name of the flow ``campaign``, if there is one."""
    try:
        return await client.read_deployment_by_name(f"{FLOW}/{name}")
    except ObjectNotFound:
        return None


async def read_known(client: PrefectClient, names: Sequence[str]) -> Known:
    """Those deployments of the flow ``campaign``; at most 200, which is what Prefect gives."""
    flow_id = await client.create_flow_from_name(FLOW)
    found = await client.read_deployments(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=list(names))),
        limit=len(names),
    )
    return Known(
        flow_id=flow_id, names=frozenset(names), deployments={one.name: one for one in found}
    )


async def ensure_deployment(
    client: PrefectClient,
    spec: DeploymentSpec,
    *,
    was: Sequence[DeploymentScheduleCreate] = (),
    known: Known | None = None,
) -> Ensured:
    """Create or change the deployment so that it is as wanted; touch nothing when it is.

    One request, one transaction of the server's: it is changed as a whole or not at all. What an
    operator paused stays so, the deployment as well as a single schedule.

    Args:
        client: of the Prefect server.
        spec: what is wanted.
        was: the schedules as they were wanted before: one that was to be off is no operator's
            pause, and may be switched on.
        known: what Prefect had a moment ago. What is to be changed is read again all the same: an
            operator may have paused it since.
    """
    is_new = False
    if known is not None and spec.name in known.names:
        before = known.deployments.get(spec.name)
        is_new = before is None
        if before is not None and not _wanted(before, spec, was)[1]:
            return Ensured(id=before.id, changed=(), before=before)
    before = None if is_new else await find_deployment(client, spec.name)
    spec, changed = _wanted(before, spec, was)
    if before is not None and not changed:
        return Ensured(id=before.id, changed=(), before=before)
    begun = utc_now()
    posted = await _post(client, spec, before, flow_id=known.flow_id if known else None)
    is_due = spec.timetable is not None and spec.timetable.is_due_within(begun, SCHEDULER)
    if is_due and not (before is not None and before.paused):
        await make_runs(client, posted, since=begun)
    return Ensured(id=posted, changed=changed, before=before)


def _wanted(
    before: DeploymentResponse | None,
    spec: DeploymentSpec,
    was: Sequence[DeploymentScheduleCreate],
) -> tuple[DeploymentSpec, tuple[str, ...]]:
    """The deployment as it should be, given the one that is there, and what differs."""
    if spec.timetable is not None:
        there = before.schedules if before is not None else ()
        spec = replace(spec, schedules=spec.timetable.prefect(utc_now(), there))
    if before is None:
        return spec, ("all",)
    spec = replace(spec, schedules=_keep_paused(before, spec.schedules, was))
    return spec, differences(before, spec)


def _keep_paused(
    before: DeploymentResponse,
    wanted: Sequence[DeploymentScheduleCreate],
    was: Sequence[DeploymentScheduleCreate],
) -> list[DeploymentScheduleCreate]:
    """What is wanted, without the schedules that an operator switched off.

    One that says something else now, be it of another kind, is known by its place in the file.
    """
    off = {_place(schedule.slug) for schedule in before.schedules if not schedule.active}
    off -= {_place(schedule.slug) for schedule in was if not schedule.active}
    return [
        one.model_copy(update={"active": False}) if one.active and _place(one.slug) in off else one
        for one in wanted
    ]


def _place(slug: str | None) -> str:
    return main_slug(slug).rpartition("-")[2]


async def undo(client: PrefectClient, ensured: Ensured, spec: DeploymentSpec) -> None:
    """Put the deployment back to what it was before :func:`ensure_deployment`."""
    before = ensured.before
    if before is None:
        await client.delete_deployment(ensured.id)
    elif ensured.changed:
        was = replace(
            spec,
            description=before.description or "",
            tags=before.tags,
            pool=before.work_pool_name or spec.pool,
            queue=before.work_queue_name or spec.queue,
            concurrency=limit.limit if (limit := before.global_concurrency_limit) else 1,
            parameters=before.parameters,
            schema=before.parameter_openapi_schema or {},
            entrypoint=before.entrypoint or spec.entrypoint,
            schedules=[
                DeploymentScheduleCreate(
                    schedule=s.schedule, active=s.active, slug=s.slug, parameters=s.parameters
                )
                for s in before.schedules
            ],
        )
        await _post(client, was, before)


async def delete_deployment(client: PrefectClient, name: str) -> bool:
    """Remove the deployment and its scheduled runs; returns whether there was one."""
    found = await find_deployment(client, name)
    if found is not None:
        await client.delete_deployment(found.id)
    return found is not None


def differences(before: DeploymentResponse, spec: DeploymentSpec) -> tuple[str, ...]:
    """What would have to change, by name."""
    limit = before.global_concurrency_limit
    options = before.concurrency_options
    pairs: dict[str, tuple[Any, Any]] = {
        "description": (before.description, spec.description),
        "tags": (sorted(before.tags), sorted(spec.tags)),
        "pool": (before.work_pool_name, spec.pool),
        "queue": (before.work_queue_name, spec.queue),
        "parameters": (before.parameters, spec.parameters),
        "schema": (before.parameter_openapi_schema, spec.schema),
        "entrypoint": (before.entrypoint, spec.entrypoint),
        "pull_steps": (before.pull_steps, []),
        "path": (before.path, None),
        "concurrency": (limit.limit if limit else None, spec.concurrency),
        "collisions": (
            options.collision_strategy if options else None,
            ConcurrencyLimitStrategy.ENQUEUE,
        ),
        "enforcement": (before.enforce_parameter_schema, True),
        "schedules": (_comparable(before.schedules), _comparable(spec.schedules)),
    }
    return tuple(name for name, (is_, wanted) in pairs.items() if is_ != wanted)


def _comparable(schedules: Sequence[Any]) -> list[Any]:
    return sorted(
        (
            [schedule.slug or "", schedule.active, schedule.schedule.model_dump(mode="json")]
            for schedule in schedules
        ),
        key=lambda row: (row[0], str(row[2])),
    )


async def _post(
    client: PrefectClient,
    spec: DeploymentSpec,
    before: DeploymentResponse | None,
    *,
    flow_id: UUID | None = None,
) -> UUID:
    return await client.create_deployment(
        flow_id=flow_id or await client.create_flow_from_name(FLOW),
        name=spec.name,
        description=spec.description,
        tags=list(spec.tags),
        parameters=dict(spec.parameters),
        parameter_openapi_schema=dict(spec.schema),
        enforce_parameter_schema=True,
        entrypoint=spec.entrypoint,
        # None would store the deployer's own folder as the place to run in.
        pull_steps=[],
        work_pool_name=spec.pool,
        work_queue_name=spec.queue,
        schedules=list(spec.schedules),
        concurrency_limit=spec.concurrency,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        job_variables=before.job_variables if before else None,
    )
