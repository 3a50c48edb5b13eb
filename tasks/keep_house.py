"""What has to be done for runs whose own process can no longer do it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from ignition_ext.budgets.lines import Lines
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Recovered
from ignition_ext.ledger.runs import overdue_runs
from ignition_ext.orchestration.mirror import mirror_state, unsettled_runs
from ignition_ext.values import MessageState
from tasks.database import open_database

CANCEL_TAKES = timedelta(minutes=5)
"""A sender drains within seconds and a worker kills after 30: longer means that nobody is there."""
RUNS_AT_ONCE = 200
"""Prefect answers at most this many flow runs a request; the rest waits for the next time."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def recover_leases() -> Recovered:
    """Settle what dead senders left: what was not on the wire can be sent again."""
    async with open_database() as database:
        recovered = await open_ledger(database).recover()
    get_run_logger().info(
        "lapsed leases: %d messages can be sent again, %d are uncertain",
        recovered.pending,
        recovered.uncertain,
    )
    return recovered


@task(cache_policy=NO_CACHE, persist_result=False)
async def expire_overdue() -> int:
    """Let the messages of runs past their deadline expire, where no sender is left to do it."""
    expired = 0
    async with open_database() as database:
        async with database.read() as session:
            runs = await overdue_runs(session, limit=RUNS_AT_ONCE)
        ledger = open_ledger(database)
        for run in runs:
            if await ledger.is_open(run):
                expired += await ledger.cancel_open(run, MessageState.EXPIRED)
    get_run_logger().info("%d messages expired in runs past their deadline", expired)
    return expired


@task(cache_policy=NO_CACHE, persist_result=False)
async def sweep_budgets() -> int:
    """Delete the lines of rates that nobody has used for a while; returns how many."""
    async with open_database() as database:
        swept = await Lines(database).sweep()
    get_run_logger().info("%d lines of rates were swept", swept)
    return swept


@task(cache_policy=NO_CACHE, persist_result=False)
async def mirror_runs() -> dict[str, str]:
    """Write Prefect's state of each unfinished run to the ledger; returns what has changed.

    A run that was cancelled while it waited executes no code: its messages are accounted for
    here.
    """
    changed: dict[str, str] = {}
    async with open_database() as database, get_client() as client:
        runs = await unsettled_runs(database, limit=RUNS_AT_ONCE)
        ids = [run.flow_run_id for run in runs if run.flow_run_id is not None]
        if not ids:
            return changed
        found = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)), limit=RUNS_AT_ONCE
        )
        mirrored = {run.flow_run_id: run.prefect_state for run in runs}
        for flow_run in found:
            state = flow_run.state
            if state is not None and _is_stuck(state):
                ended: State[Any] = Cancelled(message="Cancelled; its process was gone.")
                await client.set_flow_run_state(flow_run.id, ended, force=True)
                state = ended
            if state is not None and state.name != mirrored[flow_run.id]:
                await mirror_state(database, flow_run.id, state)
                changed[flow_run.name] = state.name or state.type.value
    return changed


def _is_stuck(state: State[Any]) -> bool:
    """Whether a cancel waits for a worker that died."""
    return state.is_cancelling() and datetime.now(UTC) - state.timestamp > CANCEL_TAKES
