"""Waits until more of a run can be sent; a long wait gives the worker's slot back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.states import AwaitingRetry

from ignition_ext.delivery.batch import BatchResult
from ignition_ext.delivery.patience import rest_left, time_left
from ignition_ext.delivery.progress import summary
from ignition_ext.errors import MustWait
from ignition_ext.ledger.runs import OpenedRun, find_run, mirror
from ignition_ext.settings import Settings
from ignition_ext.values import RunState
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import forget_process, stay_paused

LONGEST_WAIT = timedelta(seconds=60)
"""A longer wait ends the process: starting anew costs 5 to 10 s, a worker's slot is worth more."""
PAUSED_LOOK = timedelta(minutes=5)
"""How soon a paused run looks again by itself; ``ignition campaign resume`` need not wait."""


async def await_due(run: OpenedRun, batch: BatchResult) -> None:
    """Return when the run's next messages can be sent, and it is not paused in Prefect.

    Raises:
        Pause: after the run was put into state AwaitingRetry: Prefect starts it again at that
            time. It is no failure; the engine ends the process with it.
    """
    await stay_paused(run)
    left = PAUSED_LOOK if batch.run_state is RunState.PAUSED else await _time_left(run, batch)
    if not left:
        return
    at = datetime.now(UTC) + left
    what = "paused" if batch.run_state is RunState.PAUSED else _reason(batch)
    get_run_logger().info("waiting until %s: %s", f"{at:%H:%M:%S} UTC", what)
    if left > LONGEST_WAIT and current_flow_run().deployment_id is not None:
        await _come_back(run, at, what)
    await _watch(run, batch.run_state, at)


def _reason(batch: BatchResult) -> str:
    waits_for = f"{batch.error.message} " if isinstance(batch.error, MustWait) else ""
    return f"{waits_for}{summary(batch.counts)}"


async def _time_left(run: OpenedRun, batch: BatchResult) -> timedelta:
    if batch.claimed and not batch.rest:
        return timedelta(0)
    async with open_database() as database:
        rest = await rest_left(database, run.ref, batch)
        return rest or await time_left(database, batch)


async def _watch(run: OpenedRun, state: RunState, until: datetime) -> None:
    step = Settings().control_seconds
    async with open_database() as database:
        while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(step, left))
            async with database.read() as session:
                if (await find_run(session, str(run.ref.id))).state != state:
                    return


async def _come_back(run: OpenedRun, at: datetime, what: str) -> None:
    flow_run = current_flow_run()
    async with get_client() as client:
        answer: OrchestrationResult[Any] = await client.set_flow_run_state(
            flow_run.id, AwaitingRetry(scheduled_time=at, message=what)
        )
    await forget_process()
    if answer.status is not SetStateStatus.ACCEPT or answer.state is None:
        return  # cancelled meanwhile, for example: the next claim sees it
    async with open_database() as database:
        await mirror(database, run.ref, prefect_state="AwaitingRetry")
    # Returning a state that is not final would make the engine report the run as crashed. This
    # is what its own rescheduling raises; the process ends with exit code 0.
    raise Pause(state=answer.state)
