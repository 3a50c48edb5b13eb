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
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.progress import summary
from ignition_ext.delivery.waiting import wait_for_work
from ignition_ext.errors import MustWait
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.runs import OpenedRun, find_run, mirror
from ignition_ext.settings import Settings
from ignition_ext.values import RunState
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import AWAY, forget_process, stay_paused
from tasks.take_step import until_step

_MOMENT = timedelta(milliseconds=100)
LONGEST_WAIT = timedelta(seconds=60)
"""A longer wait ends the process: starting anew costs 5 to 10 s, a worker's slot is worth more."""
PAUSED_LOOK = timedelta(minutes=5)
"""How soon a paused run looks again by itself; ``ignition campaign resume`` need not wait."""


async def await_due(plan: CampaignPlan, run: OpenedRun, batch: BatchResult) -> None:
    """Return when the run's next messages can be sent, and it is not paused in Prefect.

    While other senders hold what is left, the run stays: should one die, its share is taken
    over as soon as its lease lapses.

    Raises:
        Pause: after the run was put into state AwaitingRetry: Prefect starts it again at that
            time. It is no failure; the engine ends the process with it.
    """
    left = await _await_soon(plan, run, batch)
    if not left:
        return
    at = datetime.now(UTC) + left
    if current_flow_run().deployment_id is not None:
        try:
            await _come_back(run, at, _reason(batch))
        except AWAY as error:
            get_run_logger().warning("waiting here: Prefect cannot be told to come back: %r", error)
    await _watch(run, batch.run_state, at)


async def await_more(plan: CampaignPlan, run: OpenedRun, batch: BatchResult) -> bool:
    """The same for a sender beside the run's own flow: False where it would wait for long.

    The run's own flow comes back then, and starts senders again.
    """
    if run.in_steps:
        batch = await until_step(run, batch)
    return not await _await_soon(plan, run, batch)


async def _await_soon(plan: CampaignPlan, run: OpenedRun, batch: BatchResult) -> timedelta:
    """Wait here, and return nothing; return how long, where that is too long to wait here."""
    await stay_paused(run, shared=plan.senders > 1)
    paused = batch.run_state is RunState.PAUSED
    if batch.others_hold and not batch.rest and not paused:
        await _await_others(run, batch)
        return timedelta(0)
    left = PAUSED_LOOK if paused else await _time_left(run, batch)
    left = _until_limit(run, left) if left else left
    if left:
        at = datetime.now(UTC) + left
        get_run_logger().info("waiting until %s: %s", f"{at:%H:%M:%S} UTC", _reason(batch))
        if left > LONGEST_WAIT:
            return left
        await _watch(run, batch.run_state, at)
    return timedelta(0)


def _until_limit(run: OpenedRun, left: timedelta) -> timedelta:
    """A wait that ends with the run's time: then it has to be there and say so."""
    if run.ends_by is None:
        return left
    return min(left, max(run.ends_by - datetime.now(UTC), _MOMENT))


def _reason(batch: BatchResult) -> str:
    if batch.run_state is RunState.PAUSED:
        return "paused"
    waits_for = batch.error.message if isinstance(batch.error, MustWait) else batch.waits_for
    return f"{waits_for} {summary(batch.counts)}".strip()


async def _await_others(run: OpenedRun, batch: BatchResult) -> None:
    get_run_logger().info("waiting for what other senders hold: %s", summary(batch.counts))
    async with open_database() as database:
        await wait_for_work(
            database,
            open_ledger(database),
            run.ref,
            batch.run_state,
            longest=LONGEST_WAIT,
            look_every=Settings().control_seconds,
        )


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
