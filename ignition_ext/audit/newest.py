"""Reads the end of the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.errors import NotFoundError
from ignition_ext.models import AuditLog, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One row of the audit log, for people."""

    at: datetime
    tenant: str
    seq: int
    actor: str
    action: str
    subject: str
    before: Any
    after: Any
    hash: str


async def tail(
    session: AsyncSession, *, tenant: str | None = None, limit: int = 20
) -> Sequence[AuditEntry]:
    """The newest rows of one tenant or of all, the oldest of them first.

    Raises:
        NotFoundError: there is no such tenant.
    """
    query = select(AuditLog, Tenant.name).join(Tenant, col(Tenant.id) == AuditLog.tenant_id)
    if tenant is None:
        query = query.order_by(col(AuditLog.id).desc())
    else:
        found = (await session.exec(select(Tenant.id).where(Tenant.name == tenant))).one_or_none()
        if found is None:
            raise NotFoundError(f"there is no tenant {tenant!r}.", mend="Run: ignition tenant list")
        query = query.where(AuditLog.tenant_id == found).order_by(col(AuditLog.seq).desc())
    rows = (await session.exec(query.limit(limit))).all()
    return [
        AuditEntry(
            tenant=name,
            **row.model_dump(include=set(AuditEntry.__dataclass_fields__) - {"tenant"}),
        )
        for row, name in reversed(rows)
    ]
