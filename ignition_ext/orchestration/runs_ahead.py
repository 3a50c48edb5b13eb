"""Runs that Prefect makes ahead for a deployment, and those that it drops when one changes.

Whenever a schedule of a deployment changes, Prefect's server deletes the runs to come that it has
made for the deployment, and makes new ones some seconds later, from then on. What falls due in
between would be lost. So they are asked for at once, from before the change; what exists already
is not made twice: Prefect knows each run by schedule and time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

CLOCKS = timedelta(seconds=5)
"""How far clocks of nodes and server may differ for no run to be lost."""


async def make_runs(client: PrefectClient, deployment_id: UUID, *, since: datetime) -> None:
    """Have the server make the deployment's runs, from ``since`` on.

    A paused deployment would get runs too: whoever calls looks at that.
    """
    await client.request(  # the client has no method for it
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment_id},
        json={"start_time": (since - CLOCKS).isoformat()},
    )


async def waits_since(client: PrefectClient, deployment_id: UUID, now: datetime) -> datetime | None:
    """The time of the deployment's longest due run that no worker has taken, None without one.

    Prefect deletes those too when a schedule is deleted, whichever schedule made them.
    """
    found = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return found[0].expected_start_time if found else None
