"""What has to be done for runs whose own process can no longer do it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from ignition_ext.budgets.lines import Lines
from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.capped import prune_capped
from ignition_ext.ledger.late_results import account_again, unaccounted_runs
from ignition_ext.ledger.revival import note, runs_with_lapsed_leases
from ignition_ext.ledger.run_rows import read_run, run_ref
from ignition_ext.ledger.runs import overdue_runs
from ignition_ext.orchestration.mirror import mirror_state, unsettled_runs
from ignition_ext.orchestration.redrive import start_redriven
from ignition_ext.orchestration.revival import RECONCILE_ACTOR, RUNS_AT_ONCE
from ignition_ext.values import MessageState, RunRef, RunState
from tasks.database import open_database

CANCEL_TAKES = timedelta(minutes=5)
"""A sender drains within seconds and a worker kills after 30: longer means that nobody is there."""

LATE_FOR = timedelta(days=1)
"""How long a cancelled run is looked after: a sender drains in seconds, a lease takes minutes."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def recover_leases() -> Mapping[str, str]:
    """Settle what dead senders left: what was not on the wire can be sent again."""
    done: dict[str, str] = {}
    async with open_database() as database:
        async with database.read() as session:
            runs = await runs_with_lapsed_leases(session, limit=RUNS_AT_ONCE)
        ledger = open_ledger(database)
        for run in runs:
            found = await ledger.recover(run)
            if found.pending or found.uncertain:
                after = {"pending": found.pending, "uncertain": found.uncertain}
                words = (
                    f"{found.pending} messages of a dead sender can be sent again,"
                    f" {found.uncertain} are uncertain"
                )
                done[await _told(database, run, "run.leases-ended", after)] = words
        # What no run's leases lead to: messages without a campaign.
        rest = await ledger.recover()
    if rest.pending or rest.uncertain:
        done["messages without a run"] = (
            f"{rest.pending} can be sent again, {rest.uncertain} are uncertain"
        )
    return done


@task(cache_policy=NO_CACHE, persist_result=False)
async def expire_overdue() -> Mapping[str, str]:
    """Let the messages of runs past their deadline expire, where no sender is left to do it."""
    done: dict[str, str] = {}
    async with open_database() as database:
        async with database.read() as session:
            runs = await overdue_runs(session, limit=RUNS_AT_ONCE)
        ledger = open_ledger(database)
        for run in runs:
            if not await ledger.is_open(run):
                continue
            if expired := await ledger.cancel_open(run, MessageState.EXPIRED):
                name = await _told(database, run, "run.expired", {"expired": expired})
                done[name] = f"{expired} messages expired"
    return done


async def _told(database: Database, run: RunRef, action: str, after: dict[str, Any]) -> str:
    """Write to the audit log what was done with a run; returns its name."""
    async with database.write() as session:
        row = await read_run(session, run.id)
        name = row.flow_run_name or str(run.id)
        await note(session, run.id, actor=RECONCILE_ACTOR, action=action, after=after)
    return name


@task(cache_policy=NO_CACHE, persist_result=False)
async def account_for_late_results() -> Mapping[str, str]:
    """Cancel what senders gave back, or had refused for now, after its run was cancelled."""
    done: dict[str, str] = {}
    async with open_database() as database:
        async with database.read() as session:
            rows = await unaccounted_runs(
                session, RunState.CANCELLED, within=LATE_FOR, limit=RUNS_AT_ONCE
            )
        ledger = open_ledger(database)
        for run in map(run_ref, rows):
            if cancelled := await account_again(database, ledger, run):
                name = await _told(database, run, "run.late-results", {"cancelled": cancelled})
                done[name] = f"{cancelled} messages that came back after the cancel are cancelled"
    return done


@task(cache_policy=NO_CACHE, persist_result=False)
async def send_what_was_redriven() -> Mapping[str, str]:
    """Start runs again that were closed just when failed messages of theirs became pending."""
    async with open_database() as database, get_client() as client:
        return await start_redriven(
            database, client, within=LATE_FOR, limit=RUNS_AT_ONCE, actor=RECONCILE_ACTOR
        )


@task(cache_policy=NO_CACHE, persist_result=False)
async def sweep_budgets() -> Mapping[str, str]:
    """Delete the lines of rates that nobody has used for a while; nobody need know."""
    async with open_database() as database:
        swept = await Lines(database).sweep()
    get_run_logger().info("%d lines of rates were swept", swept)
    return {}


@task(cache_policy=NO_CACHE, persist_result=False)
async def prune_caps() -> Mapping[str, str]:
    """Delete, once a day, what frequency caps counted and can count no more; nobody need know."""
    async with open_database() as database:
        pruned = await prune_capped(database)
    get_run_logger().info("%d messages that no cap counts any more were let go", pruned)
    return {}


@task(cache_policy=NO_CACHE, persist_result=False)
async def mirror_runs() -> Mapping[str, str]:
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
        known = {run.flow_run_id: run for run in runs}
        for flow_run in found:
            state = flow_run.state
            if state is not None and _is_stuck(state):
                ended: State[Any] = Cancelled(message="Cancelled; its process was gone.")
                await client.set_flow_run_state(flow_run.id, ended, force=True)
                state = ended
            run = known[flow_run.id]
            if state is not None and state.name != run.prefect_state:
                attempts = run.prefect_attempts
                await mirror_state(database, flow_run.id, state, attempts=attempts)
                changed[flow_run.name] = state.name or state.type.value
    return changed


def _is_stuck(state: State[Any]) -> bool:
    """Whether a cancel waits for a worker that died."""
    return state.is_cancelling() and datetime.now(UTC) - state.timestamp > CANCEL_TAKES
