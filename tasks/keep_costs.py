"""What has to be done about money when nobody sends any more."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.costs.accounts import Accounts
from ignition_ext.costs.actual import compute_cost, outdated_runs
from ignition_ext.orchestration.raised_budgets import wake_for_raised_budgets
from tasks.database import open_database

RUNS_AT_ONCE = 20
"""Costs that are computed in one go: each reads a run's messages, and the next minute comes."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def settle_costs() -> Mapping[str, str]:
    """Wake runs whose budget was raised, settle dead senders' money, compute ended runs' cost."""
    done: dict[str, str] = {}
    async with open_database() as database:
        async with get_client() as client:
            done.update(await wake_for_raised_budgets(database, client))
        if ended := await Accounts(database).sweep():
            done["budgets"] = f"money of {ended} messages was settled by the ledger"
        async with database.read() as session:
            runs = await outdated_runs(session, limit=RUNS_AT_ONCE)
        for run in runs:
            await compute_cost(database, run)
    get_run_logger().info("the cost of %d runs was computed", len(runs))
    return done
