"""Renews schedules in Prefect before they end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.orchestration.top_up import top_up
from tasks.database import open_database


@task(cache_policy=NO_CACHE, persist_result=False)
async def top_up_schedules() -> Mapping[str, str]:
    """Renew schedules that consist of dates or fire often; what was done, by campaign."""
    async with open_database() as database, get_client() as client:
        done = await top_up(database, client, now=datetime.now(UTC))
    told = {one.reference: f"renewed {', '.join(one.renewed)}" for one in done}
    for reference, what in told.items():
        get_run_logger().info("%s: %s", reference, what)
    return told
