"""The one door to recipients, whatever they come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ignition_ext.audience.catalogue import get_audience
from ignition_ext.audience.contract import AudienceSpec, Source
from ignition_ext.audience.csv_source import CsvSource
from ignition_ext.audience.sql_source import SqlSource
from ignition_ext.audience.stored_source import StoredSource
from ignition_ext.database import Database
from ignition_ext.errors import AudienceError
from ignition_ext.models import Tenant


@asynccontextmanager
async def open_source(
    database: Database,
    *,
    tenant: Tenant,
    spec: AudienceSpec,
    base_path: Path,
    resolve_block: Callable[[str], Awaitable[str]],
    rejects: Path | None,
) -> AsyncIterator[Source]:
    """Open a campaign's audience; its columns are known at once, its batches are read once.

    Args:
        database: Ignition's, for stored audiences.
        tenant: whose audience it is; its region reads national numbers.
        spec: which source.
        base_path: the folder that a CSV file's path starts from.
        resolve_block: gives the database URL of a block by its name.
        rejects: the file for bad rows, written when the context ends well; None: none.

    Raises:
        AudienceError: the source cannot be read, or ``where`` is wrong.
        NotFoundError: there is no stored audience of that name.
    """
    if spec.name:
        async with database.read() as session:
            assert tenant.id is not None
            audience = await get_audience(session, tenant.id, spec.name, tenant=tenant.name)
            yield StoredSource(session, audience, spec.where)
    elif spec.csv:
        async with _csv(base_path / spec.csv, tenant.region, spec.where, rejects) as source:
            yield source
    elif spec.sql and spec.block:
        url = await resolve_block(spec.block)
        opened = SqlSource(
            url,
            spec.sql,
            block=spec.block,
            region=tenant.region,
            rejects=rejects,
            where=spec.where,
        )
        try:
            await opened.open()
            yield opened
            opened.finish()
        finally:
            await opened.close()
    else:
        raise AudienceError(
            "the audience names no source.", mend="Give one of name, csv, or sql with block."
        )


@asynccontextmanager
async def _csv(
    path: Path, region: str, where: str | None, rejects: Path | None
) -> AsyncIterator[CsvSource]:
    def make() -> CsvSource:
        return CsvSource(path, region=region, rejects=rejects, unique=True, where=where)

    source = await asyncio.to_thread(make)
    try:
        yield source
        source.finish()
    finally:
        await asyncio.to_thread(source.close)
