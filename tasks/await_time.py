"""Has a run begin a little before its time, prepare, and send nothing before it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from ignition_ext.campaigns.definition import Overlap
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.schedule import ScheduleSpec
from ignition_ext.database import Database, database_now
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.schedules.head_start import wait_for_head_start
from tasks.current_run import current_flow_run

AHEAD = timedelta(seconds=1)
"""A run that was created so much before its time was meant for that time, not for at once. And so
long before it a run prepares at most, that its audience is the one of its time."""
LONGEST_SKEW = timedelta(seconds=5)
"""A node's clock that is further behind the database's is wrong, and not waited for."""


def name_in_time() -> str:
    """The run's first name, which the engine asks for just before it asks the server to begin.

    It is given at the moment from which the run has its head start: no other step of the engine's
    is a flow's own, before it runs.
    """
    flow_run = current_flow_run()
    state = flow_run.state
    at: datetime | None = None if state is None else state.state_details.scheduled_time
    if at is not None:  # a pendulum time, whose differences are no plain ones
        left = timedelta(seconds=at.timestamp() - time.time())
        time.sleep(wait_for_head_start(left).total_seconds())
    context = FlowRunContext.get()
    given = None if context is None else (context.parameters or {}).get("parameters")
    return given.campaign if isinstance(given, CampaignParameters) else flow_run.name


def due_time(flow_run: FlowRun) -> datetime | None:
    """The time that a flow run was made for; None for one that was to begin at once."""
    created, expected = flow_run.created, flow_run.expected_start_time
    if expected is None or flow_run.auto_scheduled:
        return expected
    return expected if created is not None and expected - created > AHEAD else None


def prepares_ahead(plan: CampaignPlan, spec: ScheduleSpec | None) -> bool:
    """Whether all that comes before the first claim may be done before the run's time.

    Not where that says what is so at that time, or has others send, which know of no time.
    """
    definition = plan.stored.definition
    judged = spec is not None and (spec.misfire is not None or spec.condition is not None)
    alone = plan.senders == 1 and not plan.has_steps and len(plan.legs) == 1
    return alone and not judged and definition.on_overlap is Overlap.QUEUE


async def await_time(database: Database, at: datetime, stop: asyncio.Event | None = None) -> None:
    """Return when neither the database's clock nor this node's is before that time, or stopped.

    Prefect lets a run that it fetched ahead begin half a second early.
    """
    stop = stop or asyncio.Event()
    while not stop.is_set():
        left = await _time_left(database, at)
        if left <= timedelta(0):
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), left.total_seconds())


async def _time_left(database: Database, at: datetime) -> timedelta:
    async with database.read() as session:
        shared = await database_now(session)
    own = datetime.now(UTC)
    behind = shared - own
    return at - (own if timedelta(0) < behind <= LONGEST_SKEW else shared)
