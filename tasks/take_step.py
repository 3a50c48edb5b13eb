"""Lets a run's steps begin one after the other, and stops the run when too much goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from prefect import get_run_logger
from prefect.client.orchestration import get_client

from ignition_ext.campaigns.step_rows import advance, read_steps
from ignition_ext.campaigns.step_stops import is_stopped, judge, keep_stopped, reached
from ignition_ext.database import Database
from ignition_ext.delivery.batch import BatchResult
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import ConflictError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.run_rows import read_run
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.models import CampaignRun, RunSteps
from ignition_ext.orchestration.mirror import PREFECT_ACTOR
from ignition_ext.orchestration.steps import answer, ask, carry_out, publish
from ignition_ext.values import MessageState, RunState
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import AWAY, read_flow_run, stay_paused
from tasks.start_senders import start_senders

Alarm = Callable[[Mapping[MessageState, int]], bool]


async def first_step(plan: CampaignPlan, run: OpenedRun) -> None:
    """Begin where the run is: at its first step, or after what an operator has decided.

    Raises:
        Pause: the run stopped by itself and nobody has decided yet.
    """
    async with open_database() as database:
        ledger = open_ledger(database)
        await keep_stopped(database, run.ref, await ledger.counts(run.ref))
        row, steps = await _read(database, run)
        if is_stopped(steps, row.state):
            assert steps is not None
            await _decide_or_ask(database, plan, row, run, steps)
        _tell(await advance(database, ledger, run.ref, await ledger.counts(run.ref)), None)


async def next_step(plan: CampaignPlan, run: OpenedRun, batch: BatchResult) -> BatchResult:
    """Stop the run if its rates were reached; begin its next step if it is time.

    Returns the batch with the time at which the next step begins.

    Raises:
        Pause: the run is suspended until somebody decides; it is no failure.
    """
    async with open_database() as database:
        ledger = open_ledger(database)
        stopped = await judge(database, ledger, run.ref, batch.counts)
        row, before = await _read(database, run)
        if stopped is not None:
            get_run_logger().warning("the run %s", row.state_reason)
            await _publish(database, row, stopped)
        if is_stopped(before, row.state):
            assert before is not None
            if await _decide_or_ask(database, plan, row, run, before):
                return _at_once(batch)
            return replace(batch, run_state=RunState.PAUSED)
        if before is None or not before.ramp or row.state != RunState.OPEN:
            return batch
        exact = batch.counts if not batch.claimed else await ledger.counts(run.ref)
        after = await advance(database, ledger, run.ref, exact)
    _tell(after, before)
    assert after is not None
    if after.released > before.released:
        if plan.senders > 1:
            await start_senders(plan, run, wave=after.step)
        return _at_once(batch)
    return _at_step(batch, after)


async def until_step(run: OpenedRun, batch: BatchResult) -> BatchResult:
    """The same batch with the time at which the next step begins, for a sender beside the run."""
    async with open_database() as database:
        steps = await read_steps(database, run.ref.id)
    return batch if steps is None else _at_step(batch, steps)


async def alarm_of(run: OpenedRun) -> Alarm | None:
    """Tells, from counts, whether the run is to be looked at because its rates are reached."""
    async with open_database() as database:
        steps = await read_steps(database, run.ref.id)
    if steps is None or not steps.stop_if:
        return None
    return lambda counts: bool(reached(steps, counts))


def _at_once(batch: BatchResult) -> BatchResult:
    """As if something had just been sent: the next batch need not wait."""
    return replace(batch, run_state=RunState.OPEN, next_at=None, claimed=max(batch.claimed, 1))


def _at_step(batch: BatchResult, steps: RunSteps) -> BatchResult:
    if steps.next_at is None or batch.others_hold:
        return batch
    at = steps.next_at if batch.next_at is None else min(batch.next_at, steps.next_at)
    words = f"step {steps.step} of {len(steps.targets)} is out;"
    return replace(batch, next_at=at, waits_for=words)


async def _read(database: Database, run: OpenedRun) -> tuple[CampaignRun, RunSteps | None]:
    async with database.read() as session:
        row = await read_run(session, run.ref.id)
    return row, await read_steps(database, run.ref.id)


async def _decide_or_ask(
    database: Database, plan: CampaignPlan, row: CampaignRun, run: OpenedRun, steps: RunSteps
) -> bool:
    """Carry out what was answered, and ask where nobody has; returns whether it is decided.

    Without Prefect nobody can be asked: then the run is paused as by an operator, and asks later.
    """
    try:
        async with get_client() as client:
            decision = await answer(client, current_flow_run().id, steps)
            if decision is None:
                await ask(database, client, row, steps, await read_flow_run())
                # Ends the process of a run that is suspended; comes back where it was resumed.
                await stay_paused(run, shared=plan.senders > 1)
                decision = await answer(client, current_flow_run().id, steps)
    except AWAY as error:
        get_run_logger().warning("nobody could be asked yet what to do: %s", error)
        return False
    if decision is None:
        return False
    try:
        await carry_out(database, row, decision, actor=PREFECT_ACTOR)
    except ConflictError as error:
        get_run_logger().info("it was decided elsewhere: %s", error)
    else:
        get_run_logger().info("decided: %s %s", decision.kind, decision.note)
    return True


async def _publish(database: Database, row: CampaignRun, steps: RunSteps) -> None:
    try:
        async with get_client() as client:
            await publish(database, client, row, steps)
    except AWAY as error:
        get_run_logger().warning("the page about the stop could not be made: %s", error)


def _tell(after: RunSteps | None, before: RunSteps | None) -> None:
    """Say in the run's log what has become of its steps."""
    if after is None or not after.targets:
        return
    if before is None or after.released > before.released:
        get_run_logger().info(
            "step %d of %d: %d messages of %d may go out",
            after.step,
            len(after.targets),
            after.released,
            after.targets[-1],
        )
