"""Tells Prefect and webhooks what happened."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.orchestration.outcomes import Relayed, relay_once
from ignition_ext.settings import Settings
from tasks.database import open_database

SECONDS = 45.0
"""After which nothing more is begun: the next run of the flow comes in a minute."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def relay_outcomes() -> Relayed:
    """Derive what happened since the last time, tell Prefect, and send what is due to webhooks."""
    async with open_database() as database, get_client() as client:
        relayed = await relay_once(database, Settings(), client, seconds=SECONDS)
    get_run_logger().info("%s", relayed)
    return relayed
