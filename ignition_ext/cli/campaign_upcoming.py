"""``ignition campaign upcoming``: what the schedules of all campaigns will start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter, validators

from ignition_ext.cli.context import open_database
from ignition_ext.cli.output import note, print_json, print_table
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.upcoming import HORIZON, Upcoming, read_upcoming
from ignition_ext.tenants import get_tenant

MOST_DAYS = 3660


async def upcoming(
    *,
    tenant: str | None = None,
    days: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=MOST_DAYS))] = (
        HORIZON.days
    ),
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """List when each schedule runs next: what was paused in Prefect is said so.

    Args:
        tenant: This tenant's campaigns.
        days: How far to look; of one schedule at most 100 times are counted.
        json: Print one JSON document; `next` has the times in UTC.
    """
    async with open_database() as database, prefect_client() as client:
        if tenant is not None:
            async with database.read() as session:
                await get_tenant(session, tenant)
        found = await read_upcoming(
            database, client, now=datetime.now(UTC), horizon=timedelta(days=days), tenant=tenant
        )
    if json:
        print_json([_fields(one) | {"next": list(one.times)} for one in found])
    elif found:
        rows = [_fields(one) | {"next": one.times[0] if one.times else ""} for one in found]
        print_table(rows, "campaign", "schedule", "paused", "next", "runs")
    else:
        note("No campaign has a schedule.")


def _fields(one: Upcoming) -> dict[str, object]:
    return {
        "campaign": one.campaign,
        "schedule": one.schedule,
        "paused": one.is_paused,
        "runs": len(one.times),
        "has_more": one.has_more,
    }
