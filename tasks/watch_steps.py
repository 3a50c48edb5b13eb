"""Looks after runs in steps while they wait: bounces come after the sending."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.orchestration.steps import StepWatch
from tasks.database import open_database


@task(cache_policy=NO_CACHE, persist_result=False)
async def watch_steps() -> Mapping[str, str]:
    """Stop runs whose rates are reached, and ask what to do; what was done, by run."""
    async with open_database() as database, get_client() as client:
        done = await StepWatch(database=database, client=client).look()
    for run, what in done.items():
        get_run_logger().warning("%s: %s", run, what)
    return done
