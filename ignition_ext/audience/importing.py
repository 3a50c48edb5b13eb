"""Storing a CSV file as an audience of a tenant.

The rows go in under a new generation, which becomes the one in force with one short transaction
at the end. Until then, and after any failure, readers see the import before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from ignition_ext import audit
from ignition_ext.audience.catalogue import checked_audience_name
from ignition_ext.audience.contract import ImportProgress, ImportResult
from ignition_ext.audience.csv_source import CsvSource
from ignition_ext.audience.rejects import rejects_path_of
from ignition_ext.audience.writing import add_recipients, delete_generations
from ignition_ext.database import Database
from ignition_ext.errors import AudienceError, ConflictError
from ignition_ext.models import Audience, Tenant
from ignition_ext.models.types import utc_now
from ignition_ext.tenants import get_tenant

Progress = Callable[[ImportProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The generation that an import fills."""

    tenant_id: int
    audience_id: int
    generation: int

    @property
    def key(self) -> tuple[int, int, int]:
        return self.tenant_id, self.audience_id, self.generation


async def import_csv(
    database: Database,
    *,
    tenant: str,
    name: str,
    path: Path,
    rejects: Path | None,
    actor: str,
    progress: Progress | None = None,
    encoding: str | None = None,
) -> ImportResult:
    """Store a CSV file as an audience, in place of its import before.

    Args:
        database: Ignition's.
        tenant: whose audience.
        name: of the audience, a slug.
        path: the file.
        rejects: the file for bad rows; None: ``NAME.rejects.csv`` beside the source.
        actor: for the audit log.
        progress: called after each batch.
        encoding: a Python codec, where the file's own cannot be found.

    Raises:
        AudienceError: it is no CSV file, or no row of it can be used; nothing changes then.
        ConflictError: another import that began later is in force already.
        NotFoundError: there is no such tenant.
    """
    checked_audience_name(name)
    async with database.read() as session:
        owner = await get_tenant(session, tenant)

    def open_csv() -> CsvSource:
        target = rejects or rejects_path_of(path)
        return CsvSource(path, region=owner.region, rejects=target, unique=False, encoding=encoding)

    source = await asyncio.to_thread(open_csv)
    try:
        target = await _reserve(database, owner, name)
        try:
            imported = await _fill(database, target, source, progress)
            source.finish()
            if not imported:
                raise _nothing_usable(path, source)
            result = _result(source, target, name, imported)
            await _put_in_force(database, target, result, path=path, actor=actor)
        except BaseException:
            await asyncio.shield(_undo(database, target))
            raise
        await delete_generations(database, target.audience_id, below=target.generation)
        return result
    finally:
        await asyncio.to_thread(source.close)


async def _reserve(database: Database, tenant: Tenant, name: str) -> _Target:
    """A generation of its own for this import; makes the audience's row when it is new."""
    insert = sqlite.insert if database.dialect == "sqlite" else postgresql.insert
    now = utc_now()
    async with database.write() as session:
        connection = await session.connection()
        row = Audience(tenant_id=tenant.id or 0, name=name, created_at=now, updated_at=now)
        await connection.execute(
            insert(Audience)
            .values(**row.model_dump(exclude={"id"}))
            .on_conflict_do_nothing(index_elements=["tenant_id", "name"])
        )
        statement = (
            update(Audience)
            .where(col(Audience.tenant_id) == tenant.id, col(Audience.name) == name)
            .values(reserved=col(Audience.reserved) + 1)
            .returning(col(Audience.id), col(Audience.reserved))
        )
        audience_id, generation = (await connection.execute(statement)).one()
    return _Target(tenant_id=tenant.id or 0, audience_id=audience_id or 0, generation=generation)


async def _fill(
    database: Database, target: _Target, source: CsvSource, progress: Progress | None
) -> int:
    imported = 0
    async for batch in source.batches():
        added = await add_recipients(database, target.key, batch)
        imported += added
        source.stats.duplicates += len(batch) - added
        if progress is not None:
            progress(
                ImportProgress(
                    bytes_read=source.file.bytes_read,
                    bytes_total=source.file.size,
                    imported=imported,
                    rejected=source.stats.rejected,
                    duplicates=source.stats.duplicates,
                )
            )
    return imported


def _nothing_usable(path: Path, source: CsvSource) -> AudienceError:
    listed = source.stats.rejects_path
    mend = f"See {listed} for the reason of each." if listed else "Fill in email or phone."
    return AudienceError(
        f"none of {source.stats.rejected} rows can be used.", path=str(path), mend=mend
    )


def _result(source: CsvSource, target: _Target, name: str, imported: int) -> ImportResult:
    return ImportResult(
        audience=name,
        imported=imported,
        rejected=source.stats.rejected,
        partial=source.stats.partial,
        duplicates=source.stats.duplicates,
        columns=tuple(source.columns),
        rejects_path=source.stats.rejects_path,
        generation=target.generation,
        encoding=source.file.encoding,
        delimiter=source.file.delimiter,
    )


async def _put_in_force(
    database: Database, target: _Target, result: ImportResult, *, path: Path, actor: str
) -> None:
    async with database.write() as session:
        # Not the key: rows of other imports, which refer to it, go in meanwhile.
        query = (
            select(Audience)
            .where(Audience.id == target.audience_id)
            .with_for_update(key_share=True)
        )
        audience = (await session.exec(query)).one()
        if audience.generation > target.generation:
            raise ConflictError(
                f"a later import of audience {audience.name!r} is in force already.",
                mend="Look at it with: ignition audience show; import again if yours is newer.",
            )
        before = None
        if audience.generation:
            before = audience.model_dump(include={"generation", "size", "columns", "source"})
        audience.generation, audience.size = target.generation, result.imported
        audience.columns, audience.source = list(result.columns), path.name[:500]
        audience.updated_at, audience.deleted_at = utc_now(), None
        session.add(audience)
        await session.flush()
        await audit.record(
            session,
            tenant_id=target.tenant_id,
            actor=actor,
            action="audience.imported",
            subject=f"audience:{audience.name}",
            before=before,
            after={
                **audience.model_dump(include={"generation", "size", "columns", "source"}),
                "rejected": result.rejected,
                "duplicates": result.duplicates,
            },
        )


async def _undo(database: Database, target: _Target) -> None:
    """Remove what a failed import wrote."""
    await delete_generations(
        database, target.audience_id, first=target.generation, below=target.generation + 1
    )
