"""Waits for a run's time, and decides whether a run that comes late or on a condition sends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State

from ignition_ext.campaigns.schedule import Misfire, ScheduleSpec, find_schedule
from ignition_ext.database import database_now
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import NotFoundError
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration.timetables import read_timetable
from ignition_ext.schedules.misfire import overtaken_by
from tasks.await_time import AHEAD, await_time, due_time, prepares_ahead
from tasks.check_condition import check_condition
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.show_ending import Ending
from tasks.skip_run import skip_run


async def keep_time(plan: CampaignPlan) -> Ending | None:
    """Return when the run's time has come: None if it is to send, else how it ended.

    A run by hand, one that is retried and one that is resumed are only kept from being early. Where
    all may be prepared before, a moment is left: its messages are kept until its time is there.
    """
    flow_run = current_flow_run()
    spec = find_schedule(plan.stored.definition.schedules, schedule_of(flow_run))
    if (at := due_time(flow_run)) is not None:
        async with open_database() as database:
            await await_time(database, at - AHEAD if prepares_ahead(plan, spec) else at)
    if spec is None or (spec.misfire is None and spec.condition is None):
        return None
    due = await _first_due(flow_run)
    if due is None:
        return None
    reason = await _missed(plan, spec, due)
    if reason is None and spec.condition is not None:
        reason = await check_condition(plan, spec.condition)
    return None if reason is None else await skip_run(plan, reason)


def schedule_of(flow_run: FlowRun) -> str | None:
    """The name of the schedule that a flow run is of.

    Prefect says who made the run; a run that makes up for a missed one has it as a parameter.
    """
    maker = flow_run.created_by
    if maker is not None and maker.type == "SCHEDULE":
        return maker.display_value
    given = flow_run.parameters.get("parameters")
    named = given.get("schedule") if isinstance(given, dict) else None
    return str(named) if named else None


async def _first_due(flow_run: FlowRun) -> datetime | None:
    """When the run was due; None where it has been begun before, so that it is not judged again.

    A run that waited its turn was due when Prefect was to look again, and one that was moved at
    the time that it was moved to.
    """
    async with open_database() as database, database.read() as session:
        try:
            await find_run(session, str(flow_run.id))
        except NotFoundError:
            pass
        else:
            return None
    async with get_client() as client:
        history = await client.read_flow_run_states(flow_run.id)
    if sum(state.is_running() for state in history) > 1:
        return None
    waited = [time for state in history if (time := _scheduled_time(state)) is not None]
    return max(waited, default=flow_run.expected_start_time)


def _scheduled_time(state: State[object]) -> datetime | None:
    return state.state_details.scheduled_time if state.is_scheduled() else None


async def _missed(plan: CampaignPlan, spec: ScheduleSpec, due: datetime) -> str | None:
    """Why a run that begins too late does not send; None if it does."""
    async with open_database() as database, database.read() as session:
        now = await database_now(session)
        late = now - due
        if late <= spec.missed_after:
            return None
        get_run_logger().info("due %s, begun %s late", f"{due:%Y-%m-%d %H:%M:%S} UTC", late)
        match spec.misfire:
            case None | Misfire.RUN_ALL:
                return None
            case Misfire.SKIP:
                return f"missed: due {due:%Y-%m-%d %H:%M:%S} UTC, {_told(late)} ago"
            case Misfire.RUN_ONCE:
                timetable = await read_timetable(
                    session, plan.stored.definition, plan.stored.tenant, now=now
                )
            case _:
                assert_never(spec.misfire)
    for _, one, written, where in timetable.named():
        if one is spec:
            later = overtaken_by(written.schedule, where, due, now)
            if later is not None:
                return (
                    f"missed: due {due:%Y-%m-%d %H:%M:%S} UTC;"
                    f" the run of {later:%Y-%m-%d %H:%M:%S} UTC takes its place"
                )
    return None


def _told(late: timedelta) -> str:
    return str(timedelta(seconds=round(late.total_seconds())))
