"""The rows that a run needs, made for a tenant of its own and all deleted afterwards.

They are written without the audit log, from which nothing can be deleted.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Table, delete, text
from sqlmodel import col, func, select

from ignition_ext.bench.options import Say
from ignition_ext.bench.people import crowds
from ignition_ext.database import Database
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.run_rows import database_now, run_ref
from ignition_ext.models import Campaign, CampaignRun, MessagePart, Tenant, metadata
from ignition_ext.schema import current_revision, database_errors, require_current, upgrade
from ignition_ext.values import Channel, RunRef

AUDITED = frozenset({"audit_log", "audit_head"})
"""Append-only by the database itself; nothing of ours is in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """An open run with its audience.

    Attributes:
        tenant: the name of the tenant that owns every row.
        snapshot_rate: messages a second that went into the ledger.
        durable: whether a commit outlives a loss of power, by the database's own settings.
    """

    database: Database
    url: str
    run: RunRef
    tenant: str
    snapshot_rate: float
    durable: bool

    async def segments(self) -> int:
        """Parts of SMS that the ledger knows."""
        async with self.database.read() as session:
            query = select(func.count()).where(col(MessagePart.run_at) == self.run.run_at)
            query = query.where(col(MessagePart.tenant_id) == self.run.tenant_id)
            return (await session.exec(query)).one()


@asynccontextmanager
async def open_stage(
    url: str | None, channel: Channel, messages: int, say: Say
) -> AsyncIterator[Stage]:
    """A run of that many messages, in the database given or in a temporary file.

    Raises:
        DatabaseError: the database cannot be used, or is at another revision.
    """
    folder = None if url else Path(tempfile.mkdtemp(prefix="ignition-bench-"))
    try:
        async with _open_database(url or f"sqlite:///{folder}/ignition.db") as database:
            tenant = f"bench-{uuid4().hex[:12]}"
            try:
                run = await _add_rows(database, tenant, channel)
                say(f"snapshot of {messages} recipients ({database.dialect}) …")
                yield Stage(
                    database=database,
                    url=database.url.render_as_string(hide_password=False),
                    run=run,
                    tenant=tenant,
                    snapshot_rate=await _fill(database, run, channel, messages),
                    durable=await is_durable(database),
                )
            finally:
                if folder is None:
                    await asyncio.shield(_delete_rows(database, tenant))
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _open_database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        with database_errors(database):
            if await current_revision(database) is None:
                await upgrade(database)
            await require_current(database)
            yield database
    finally:
        await database.close()


async def is_durable(database: Database) -> bool:
    """Whether a commit waits until the disk has it."""
    async with database.read() as session:
        connection = await session.connection()
        if database.dialect == "sqlite":
            # 2 is FULL: with NORMAL a WAL is written, but not synchronised, at each commit.
            return int((await connection.execute(text("PRAGMA synchronous"))).scalar_one()) >= 2
        shown = [
            str((await connection.execute(text(f"SHOW {name}"))).scalar_one())
            for name in ("fsync", "synchronous_commit")
        ]
        return shown[0] == "on" and shown[1] != "off"


async def _add_rows(database: Database, name: str, channel: Channel) -> RunRef:
    async with database.write() as session:
        tenant = Tenant(name=name, title="Benchmark", timezone="Europe/Berlin", region="DE")
        session.add(tenant)
        await session.flush()
        assert tenant.id is not None
        campaign = Campaign(tenant_id=tenant.id, name=f"bench-{channel}", version=1)
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
        now = await database_now(session)
        row = CampaignRun(
            tenant_id=tenant.id,
            campaign_id=campaign.id,
            campaign_version=1,
            run_at=now,
            started_at=now,
            flow_run_name=f"{name}/{campaign.name}",
        )
        session.add(row)
        await session.flush()
        return run_ref(row)


async def _fill(database: Database, run: RunRef, channel: Channel, messages: int) -> float:
    """Put the audience into the run; returns messages a second."""
    ledger, added, seconds = open_ledger(database), 0, 0.0
    for crowd in crowds(messages, channel):
        began = time.perf_counter()
        added += (await ledger.snapshot(run, _one_by_one(crowd))).added
        seconds += time.perf_counter() - began
    await ledger.finish_snapshot(run, skipped=0, rejected=0, duplicates=0)
    if added != messages:
        raise IgnitionError(f"{added} of {messages} messages came into the ledger.")
    return messages / seconds


async def _one_by_one(
    batches: Sequence[Sequence[NewMessage]],
) -> AsyncIterator[Sequence[NewMessage]]:
    for batch in batches:
        yield batch


async def _delete_rows(database: Database, name: str) -> None:
    """Delete whatever belongs to the tenant, the tables that others point to last."""
    async with database.write() as session:
        tenant = (await session.exec(select(Tenant.id).where(Tenant.name == name))).one_or_none()
        if tenant is None:
            return
        connection = await session.connection()
        for table in _tables():
            key = table.c.id if table.name == "tenant" else table.c.tenant_id
            await connection.execute(delete(table).where(key == tenant))


def _tables() -> list[Table]:
    return [
        table
        for table in reversed(metadata.sorted_tables)
        if table.name not in AUDITED and ("tenant_id" in table.c or table.name == "tenant")
    ]
