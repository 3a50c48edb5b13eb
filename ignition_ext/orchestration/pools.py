"""Work pools: one a channel, so that a worker can be given to one of them."""

from __future__ import annotations

import copy
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from ignition_ext.errors import ConfigurationError

POOL_TYPE = "process"
POOLS = {
    "email": "Email campaigns.",
    "sms": "SMS campaigns.",
    "default": "Everything else: reconcile, receipts, reports.",
}
SENDERS = "senders"
QUEUES = {
    SENDERS: "Senders of runs under way: these are finished before others begin.",
    "high": "Campaigns that cannot wait.",
    "default": "Campaigns, unless they say otherwise.",
    "low": "Campaigns that can wait.",
}
"""What each pool of a channel has, in the order in which workers take from them."""
HEARTBEAT_SECONDS = 30
"""As often as Prefect allows: `reconcile` finds a dead process by what it does not hear."""
_HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"


async def find_pool(client: PrefectClient, name: str) -> WorkPool:
    """The work pool of that name.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return await client.read_work_pool(name)
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"the Prefect server has no work pool {name!r}.", mend="Run: ignition init"
        ) from error


async def create_pool(client: PrefectClient, name: str) -> bool:
    """Create one of :data:`POOLS` unless it is there, whatever its type; returns whether it was.

    An operator may have made it a Docker or Kubernetes pool: that is left as it is.
    """
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        wanted = WorkPoolCreate(
            name=name,
            type=POOL_TYPE,
            description=POOLS[name],
            base_job_template=await _job_template(),
        )
        try:
            await client.create_work_pool(wanted)
        except ObjectAlreadyExists:
            return False  # another node was quicker
        return True
    return False


async def _job_template() -> dict[str, Any]:
    """Prefect's own, with heartbeats as often as they are needed; the UI shows it to change."""
    found = await get_default_base_job_template_for_infrastructure_type(POOL_TYPE)
    template: dict[str, Any] = copy.deepcopy(found or {})
    environment = template.get("variables", {}).get("properties", {}).get("env")
    if environment is not None:
        environment["default"] = {_HEARTBEAT: str(HEARTBEAT_SECONDS)}
    return template


async def create_queues(client: PrefectClient, pool: str) -> list[str]:
    """Give a pool the queues of :data:`QUEUES` that it lacks; returns which were made.

    What is there stays as it is: an operator may have put it into another order.
    """
    made = []
    known = {queue.name for queue in await client.read_work_queues(work_pool_name=pool)}
    for priority, (name, description) in enumerate(QUEUES.items(), start=1):
        if name in known:
            continue
        try:
            await client.create_work_queue(
                name, description=description, priority=priority, work_pool_name=pool
            )
        except ObjectAlreadyExists:
            continue  # another node was quicker
        made.append(name)
    return made
