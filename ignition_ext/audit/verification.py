"""Verifies audit chains against the database, reading it once, in pages.

A chain holds when each row follows the one before, is signed by a trusted key, and the signed
head names the last one. What a signature cannot show (a database set back as a whole to an
earlier copy) a checkpoint kept elsewhere does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Row, func, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from ignition_ext.audit.canonical import AuditRow, head_statement
from ignition_ext.audit.chain import StoredRow, Walk
from ignition_ext.audit.checkpoint import Checkpoint, CheckpointChain
from ignition_ext.audit.keys import PublicKeys, holds
from ignition_ext.audit.log import HEADS, ROWS
from ignition_ext.audit.report import ChainReport, Finding, FindingKind
from ignition_ext.database import Database
from ignition_ext.errors import NotFoundError
from ignition_ext.models import metadata

TENANTS = metadata.tables["tenant"]
PAGE = 1000
"""Rows held in memory at once: a few megabytes, and few enough round trips."""


async def verify(
    database: Database,
    *,
    keys: PublicKeys,
    tenant: str | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[ChainReport]:
    """Verify one tenant's chain or all, as of one moment; writers are not held up.

    Args:
        database: Ignition's.
        keys: the public keys whose signatures count.
        tenant: a name; None for all.
        checkpoint: an exported state that the chains must still contain. Its key counts too.

    Raises:
        NotFoundError: there is no such tenant.
    """
    if checkpoint is not None:
        keys = {**keys, checkpoint.key_id: checkpoint.key}
    expected = {chain.tenant_id: chain for chain in checkpoint.chains} if checkpoint else {}
    async with _snapshot(database) as connection:
        names = await _tenants(connection, tenant, expected)
        return [
            await _verify_chain(connection, tenant_id, name, keys, expected.get(tenant_id))
            for tenant_id, name in sorted(names.items(), key=lambda item: item[1])
        ]


@asynccontextmanager
async def _snapshot(database: Database) -> AsyncIterator[AsyncConnection]:
    async with database.engine.connect() as connection:
        options: dict[str, Any] = {"ignition_read_only": True}
        if database.dialect == "postgresql":
            # Else the head would be younger than the rows read before it.
            options["isolation_level"] = "REPEATABLE READ"
        yield await connection.execution_options(**options)


async def _tenants(
    connection: AsyncConnection, tenant: str | None, expected: Mapping[int, CheckpointChain]
) -> dict[int, str]:
    """The chains to look at, also of tenants whose row is gone."""
    rows = await connection.execute(select(TENANTS.c.id, TENANTS.c.name))
    names: dict[int, str] = {row.id: row.name for row in rows}
    ids = union(select(ROWS.c.tenant_id).distinct(), select(HEADS.c.tenant_id))
    for found in (await connection.execute(ids)).scalars():
        names.setdefault(found, f"#{found}")
    for tenant_id, chain in expected.items():
        names.setdefault(tenant_id, chain.tenant)
    if tenant is None:
        return names
    chosen = {tenant_id: name for tenant_id, name in names.items() if name == tenant}
    if not chosen:
        raise NotFoundError(f"there is no tenant {tenant!r}.", mend="Run: ignition tenant list")
    return chosen


async def _verify_chain(
    connection: AsyncConnection,
    tenant_id: int,
    tenant: str,
    keys: PublicKeys,
    expected: CheckpointChain | None,
) -> ChainReport:
    walk = Walk(tenant, keys, _Neighbours(connection, tenant_id))
    broken: Finding | None = None
    count = 0
    async for stored in _rows(connection, tenant_id):
        broken = await walk.step(stored) or _differs(walk, expected)
        if broken is not None:
            break
        count += 1
    if broken is None:
        head = await connection.execute(select(HEADS).where(HEADS.c.tenant_id == tenant_id))
        broken = _cut(walk, expected) or _head(walk, head.one_or_none())
    found = {finding for finding in (walk.unknown, broken) if finding is not None}
    return ChainReport(
        tenant=tenant,
        tenant_id=tenant_id,
        rows=count,
        seq=walk.seq,
        hash=walk.hash,
        findings=tuple(sorted(found, key=_severity)),
    )


def _severity(finding: Finding) -> tuple[int, bool]:
    return finding.seq, finding.kind is FindingKind.UNKNOWN_KEY


def _differs(walk: Walk, expected: CheckpointChain | None) -> Finding | None:
    """Whether the row that was just taken is another than the checkpoint's."""
    if expected is None or expected.seq != walk.seq or expected.hash == walk.hash:
        return None
    return walk.finding(
        walk.seq,
        FindingKind.RECOMPUTED,
        "it is not the row of the checkpoint: it or one before was changed and all computed anew.",
    )


def _cut(walk: Walk, expected: CheckpointChain | None) -> Finding | None:
    if expected is None or expected.seq <= walk.seq:
        return None
    return walk.finding(
        walk.seq + 1,
        FindingKind.REMOVED,
        f"the checkpoint ends with row {expected.seq}, the chain with row {walk.seq}.",
    )


def _head(walk: Walk, head: Row[Any] | None) -> Finding | None:
    """What is wrong between the last row and the head."""
    if head is None:
        if walk.seq == 0:
            return walk.finding(
                1,
                FindingKind.REMOVED,
                "the chain is empty, not even the tenant's creation is left.",
            )
        return walk.finding(walk.seq, FindingKind.HEAD, "the head of the chain is missing.")
    if head.seq > walk.seq:
        return walk.finding(
            walk.seq + 1, FindingKind.REMOVED, f"the chain was cut: its head is row {head.seq}."
        )
    if head.seq < walk.seq:
        return walk.finding(
            head.seq + 1, FindingKind.INSERTED, "it stands behind the end of the chain."
        )
    if head.hash != walk.hash:
        return walk.finding(walk.seq, FindingKind.HEAD, "the head has another hash than the row.")
    return _head_signature(walk, head)


def _head_signature(walk: Walk, head: Row[Any]) -> Finding | None:
    key = walk.keys.get(head.key_id)
    if key is None and head.key_id:
        return walk.unknown or walk.finding(
            walk.seq,
            FindingKind.UNKNOWN_KEY,
            f"the head is signed by the key {head.key_id}, which is not known here.",
        )
    if key is not None and head.signed_at is not None:
        statement = head_statement(
            tenant_id=head.tenant_id, seq=head.seq, digest=head.hash, signed_at=head.signed_at
        )
        if holds(key, head.signature, statement):
            return None
    return walk.finding(
        walk.seq,
        FindingKind.HEAD,
        "the head of the chain is not signed: it was set back, or later rows were cut.",
    )


async def _rows(connection: AsyncConnection, tenant_id: int) -> AsyncIterator[StoredRow]:
    last: tuple[int, int] | None = None
    while True:
        query = select(ROWS).where(ROWS.c.tenant_id == tenant_id)
        if last is not None:
            query = query.where(tuple_(ROWS.c.seq, ROWS.c.id) > last)
        page: Sequence[Row[Any]] = (
            await connection.execute(query.order_by(ROWS.c.seq, ROWS.c.id).limit(PAGE))
        ).all()
        for row in page:
            yield _stored(row)
        if len(page) < PAGE:
            return
        last = (page[-1].seq, page[-1].id)


def _stored(row: Row[Any]) -> StoredRow:
    fields = AuditRow.__dataclass_fields__
    return StoredRow(
        id=row.id,
        row=AuditRow(**{name: getattr(row, name) for name in fields}),
        hash=row.hash,
        signature=row.signature,
        key_id=row.key_id,
    )


class _Neighbours:
    def __init__(self, connection: AsyncConnection, tenant_id: int) -> None:
        self.connection, self.tenant_id = connection, tenant_id

    async def follower(self, previous_hash: str, besides: int) -> bool:
        return await self._any(ROWS.c.previous_hash == previous_hash, ROWS.c.id != besides)

    async def hash_exists(self, digest: str) -> bool:
        return await self._any(ROWS.c.hash == digest)

    async def _any(self, *conditions: Any) -> bool:
        query = select(func.count()).where(ROWS.c.tenant_id == self.tenant_id, *conditions)
        return bool((await self.connection.execute(query)).scalar_one())
