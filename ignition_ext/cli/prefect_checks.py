"""The checks of ``ignition doctor`` that need the Prefect server."""

from __future__ import annotations

from collections.abc import AsyncIterator

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from ignition_ext.errors import IgnitionError
from ignition_ext.health.check import Check, failed, hint, passed
from ignition_ext.health.facts import check_legs, check_reconcile, check_senders, check_server
from ignition_ext.orchestration.blocks import block_classes
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.pools import POOLS
from ignition_ext.orchestration.runs import workers_online


async def check_prefect() -> AsyncIterator[Check]:
    """The server, then what ``ignition init`` puts on it, then who polls its pools."""
    try:
        async with prefect_client() as client:
            yield await check_server(client)
            for name in POOLS:
                yield await _pool(client, name)
            for slug in [block.get_block_type_slug() for block in block_classes()]:
                yield await _block_type(client, slug)
            yield await check_reconcile(client)
            yield await check_senders(client)
            yield await check_legs(client)
    except IgnitionError as error:
        yield failed("prefect", error.message, error.mend)


async def _pool(client: PrefectClient, name: str) -> Check:
    title = f"work pool {name}"
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return failed(title, "is not there.", "Run: ignition init")
    if pool.is_paused:
        return hint(title, "is paused.", f"Run: prefect work-pool resume {name}")
    online = await workers_online(client, name)
    if not online:
        return hint(
            title,
            f"is there ({pool.type}); no worker polls it.",
            f"Run: prefect worker start --pool {name}",
        )
    return passed(title, f"{online} worker{'s' if online > 1 else ''} ({pool.type})")


async def _block_type(client: PrefectClient, slug: str) -> Check:
    title = f"block type {slug}"
    try:
        await client.read_block_type_by_slug(slug)
    except ObjectNotFound:
        return failed(title, "is not there.", "Run: ignition init")
    return passed(title, "is registered")
