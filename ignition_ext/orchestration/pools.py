"""Work pools: one a channel, so that a worker can be given to one of them."""

from __future__ import annotations

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
    "default": "Everything else: housekeeping, receipts, reports.",
}


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
        template = await get_default_base_job_template_for_infrastructure_type(POOL_TYPE)
        wanted = WorkPoolCreate(
            name=name,
            type=POOL_TYPE,
            description=POOLS[name],
            base_job_template=template or {},
        )
        try:
            await client.create_work_pool(wanted)
        except ObjectAlreadyExists:
            return False  # another node was quicker
        return True
    return False
