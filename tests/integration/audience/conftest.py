"""A tenant, and ways to write files and read sources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ignition_ext.audience import ImportResult, SourceStats, import_csv, open_source
from ignition_ext.campaigns.definition import AudienceSpec
from ignition_ext.database import Database
from ignition_ext.models import Tenant
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Recipient

Read = Callable[..., Awaitable[tuple[list[Recipient], SourceStats]]]
Store = Callable[..., Awaitable[ImportResult]]


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A tenant whose numbers are German."""
    return await create_tenant(database, name="acme", region="DE", actor="test")


@pytest.fixture
def store(database: Database, tenant: Tenant, tmp_path: Path) -> Store:
    """Imports a text as an audience."""

    async def store(text: str, name: str = "people") -> ImportResult:
        path = tmp_path / f"{name}.csv"
        path.write_text(text, encoding="utf-8")
        return await import_csv(
            database, tenant=tenant.name, name=name, path=path, rejects=None, actor="test"
        )

    return store


@pytest.fixture
def read(database: Database, tenant: Tenant, tmp_path: Path) -> Read:
    """Reads a whole source: ``read(name="people", where=…)``."""

    async def read(
        *, url: str = "", rejects: Path | None = None, **spec: str
    ) -> tuple[list[Recipient], SourceStats]:
        async def resolve(block: str) -> str:
            assert block == spec["block"]
            return url

        async with open_source(
            database,
            tenant=tenant,
            spec=AudienceSpec(**spec),
            base_path=tmp_path,
            resolve_block=resolve,
            rejects=rejects,
        ) as source:
            found = [recipient async for batch in source.batches() for recipient in batch]
        return found, source.stats

    return read
