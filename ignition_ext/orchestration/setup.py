"""Puts what Ignition needs on a Prefect server: block types, work pools, queues. Safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from ignition_ext.orchestration.blocks import block_classes
from ignition_ext.orchestration.pools import POOLS, create_pool, create_queues


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A thing on the server, and whether it was made now."""

    kind: str
    name: str
    created: bool


async def prepare_server(client: PrefectClient) -> Sequence[Prepared]:
    """Register the block types, then create the work pools that are missing.

    Registering also brings the type's form up to this release, for which Prefect keeps a schema
    by checksum; documents that exist stay as they are.

    Raises:
        ConfigurationError: the blocks of the installed distribution do not load.
    """
    done = []
    for block in block_classes():
        slug = block.get_block_type_slug()
        known = await _has_block_type(client, slug)
        await block.aregister_type_and_schema(client=client)
        done.append(Prepared(kind="block type", name=slug, created=not known))
    for pool in POOLS:
        created = await create_pool(client, pool)
        done.append(Prepared(kind="work pool", name=pool, created=created))
        queues = await create_queues(client, pool)
        done += [
            Prepared(kind="work queue", name=f"{pool}/{name}", created=True) for name in queues
        ]
    return done


async def _has_block_type(client: PrefectClient, slug: str) -> bool:
    try:
        await client.read_block_type_by_slug(slug)
    except ObjectNotFound:
        return False
    return True
