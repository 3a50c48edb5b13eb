"""What an operator does with runs of a campaign: start, move to another time, pause, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Scheduled
from sqlalchemy import update
from sqlmodel import col, select

from ignition_ext import audit
from ignition_ext.campaigns.definition import Priority
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.database import Database
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.models import Campaign, CampaignRun, ChainRelease
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.chains import MOVED
from ignition_ext.orchestration.runs import find_flow_run
from ignition_ext.orchestration.schedule_control import required_deployment
from ignition_ext.values import RunState

MOST_RUNS = 200
"""Prefect answers at most this many flow runs a request: nobody has so many of one campaign."""
_BEGUN = (RunState.OPEN, RunState.PAUSED)
_WAITING = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]


async def start_run(
    database: Database,
    client: PrefectClient,
    campaign: StoredCampaign,
    parameters: CampaignParameters,
    *,
    actor: str,
    at: datetime | None = None,
    priority: Priority | None = None,
) -> FlowRun:
    """Ask Prefect for a run of the campaign, now or at a time; a worker of its pool will begin it.

    Raises:
        ConfigurationError: its deployment is not on this Prefect server.
    """
    deployment = await required_deployment(client, campaign.reference)
    flow_run = await client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"parameters": parameters.model_dump(mode="json", exclude_defaults=True)},
        state=Scheduled(scheduled_time=at),
        work_queue_name=priority.value if priority else None,
    )
    told: dict[str, Any] = {"flow_run_id": str(flow_run.id)}
    if at is not None:
        told["at"] = at.isoformat()
    if priority is not None:
        told["priority"] = priority.value
    await _record(database, campaign.campaign, "run.requested", actor, after=told)
    return flow_run


async def move_run(
    database: Database, client: PrefectClient, reference: str, at: datetime, *, actor: str
) -> FlowRun:
    """Let a run that has not begun begin at another time; the new flow run that will.

    Prefect keeps the time for which a run was made, and a run that a schedule made comes back when
    it is deleted: so the old one is left as cancelled and says where it went.

    Raises:
        NotFoundError: Prefect has no such flow run.
        ConflictError: it has begun, or has ended.
    """
    old = await find_flow_run(client, reference)
    if old is None or old.deployment_id is None:
        raise NotFoundError(
            f"Prefect has no scheduled run {reference}.",
            mend="Name a flow run's id, as the UI shows it under Upcoming.",
        )
    if old.state_type is not StateType.SCHEDULED or old.run_count:
        raise ConflictError(
            f"the run {old.id} is {old.state_name}.", mend="Only a run that has not begun can move."
        )
    campaign = await campaign_of_deployment(database, old.deployment_id)
    new = await client.create_flow_run_from_deployment(
        old.deployment_id,
        parameters=old.parameters,
        tags=old.tags,
        # A run that was let go stays a part of its chain: the key says of which turn.
        idempotency_key=f"{old.idempotency_key or 'moved'}:{old.id}:{at.timestamp()}",
        state=Scheduled(scheduled_time=at, message=f"moved by {actor} from {_time(old)}"),
        work_queue_name=old.work_queue_name,
    )
    moved: State[Any] = Cancelled(name=MOVED, message=f"moved by {actor} to {at:%F %T} UTC")
    await client.set_flow_run_state(old.id, moved, force=True)
    async with database.write() as session:
        await (await session.connection()).execute(
            update(ChainRelease)
            .where(col(ChainRelease.flow_run_id) == old.id)
            .values(flow_run_id=new.id)
        )
    await _record(
        database,
        campaign,
        "run.moved",
        actor,
        before={"flow_run_id": str(old.id), "at": _time(old)},
        after={"flow_run_id": str(new.id), "at": at.isoformat()},
    )
    return new


def _time(flow_run: FlowRun) -> str:
    at = flow_run.expected_start_time
    return "now" if at is None else f"{at:%F %T} UTC"


async def begun_runs(
    database: Database, campaign: StoredCampaign, states: Sequence[RunState] = _BEGUN
) -> list[UUID]:
    """The campaign's runs in the ledger that have not ended, in one of these states."""
    query = select(CampaignRun.id).where(
        CampaignRun.campaign_id == campaign.campaign.id,
        col(CampaignRun.state).in_([state.value for state in states]),
    )
    async with database.read() as session:
        return list(await session.exec(query))


async def due_runs(
    database: Database,
    client: PrefectClient,
    campaign: StoredCampaign,
    *,
    and_scheduled: bool = False,
) -> list[UUID]:
    """Flow runs that are due and not in the ledger yet; with those scheduled for later if asked."""
    if campaign.campaign.prefect_deployment_id is None:
        return []
    until = None if and_scheduled else FlowRunFilterNextScheduledStartTime(before_=utc_now())
    found: list[FlowRun] = []
    for types, before in (([StateType.SCHEDULED], until), (_WAITING[1:], None)):
        found += await client.read_flow_runs(
            deployment_filter=DeploymentFilter(
                id=DeploymentFilterId(any_=[campaign.campaign.prefect_deployment_id])
            ),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)),
                next_scheduled_start_time=before,
            ),
            limit=MOST_RUNS,
        )
    ids = [flow_run.id for flow_run in found]
    query = select(CampaignRun.flow_run_id).where(col(CampaignRun.flow_run_id).in_(ids))
    async with database.read() as session:
        begun = set(await session.exec(query))
    return [key for key in ids if key not in begun]


async def campaign_of_deployment(database: Database, deployment_id: UUID) -> Campaign:
    """The campaign that a deployment is of.

    Raises:
        NotFoundError: it is no campaign's.
    """
    query = select(Campaign).where(Campaign.prefect_deployment_id == deployment_id)
    async with database.read() as session:
        campaign = (await session.exec(query)).first()
    if campaign is None:
        raise NotFoundError(
            f"the deployment {deployment_id} is no campaign's of this database.",
            mend="`ignition doctor` says which database and server are in use.",
        )
    return campaign


async def _record(
    database: Database,
    campaign: Campaign,
    action: str,
    actor: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    async with database.write() as session:
        await audit.record(
            session,
            tenant_id=campaign.tenant_id,
            actor=actor,
            action=action,
            subject=f"campaign:{campaign.name}",
            before=before,
            after=after,
        )
