"""Makes up for runs that were missed while Prefect's server was down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.orchestration.missed import catch_up
from tasks.database import open_database


@task(cache_policy=NO_CACHE, persist_result=False)
async def catch_up_misfires() -> Mapping[str, str]:
    """Start the missed runs of schedules that say so with `misfire`; what was done, by campaign."""
    async with open_database() as database, get_client() as client:
        made = await catch_up(database, client, now=datetime.now(UTC))
    told = {
        reference: f"made up for {len(times)} missed, the first of {times[0]:%Y-%m-%d %H:%M} UTC"
        for reference, times in made.items()
    }
    for reference, what in told.items():
        get_run_logger().info("%s: %s", reference, what)
    return told
