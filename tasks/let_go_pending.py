"""Lets go what comes after runs whose own process could not."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.orchestration import chains
from tasks.database import open_database


@task(cache_policy=NO_CACHE, persist_result=False)
async def let_go_pending() -> Mapping[str, str]:
    """Start the campaigns that come after runs which ended unseen; what was done, by campaign."""
    async with open_database() as database, get_client() as client:
        done = await chains.let_go_pending(database, client)
    for campaign, what in done.items():
        get_run_logger().info("%s: %s", campaign, what)
    return done
