"""The server's own scheduler, with the packages that are installed."""

from __future__ import annotations

import asyncio

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
)
from prefect.client.schemas.schedules import CronSchedule

from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.orchestration.client import prefect_client

SECONDS = 60
"""The scheduler looks for new deployments every five."""


async def test_a_schedule_makes_runs(prefect: PrefectServer, tenant_name: str) -> None:
    """Without them nothing runs by itself, and no error is shown anywhere but in its log."""
    async with prefect_client() as client:
        schedule = DeploymentScheduleCreate(
            schedule=CronSchedule(cron="0 8 * * *", timezone="Europe/Berlin")
        )
        deployment_id = await client.create_deployment(
            flow_id=await client.create_flow_from_name("campaign"),
            name=tenant_name,
            schedules=[schedule],
        )
        try:
            async with asyncio.timeout(SECONDS):
                while not await client.read_flow_runs(  # noqa: ASYNC110 - a server's condition
                    deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
                ):
                    await asyncio.sleep(0.2)
        finally:
            await client.delete_deployment(deployment_id)
