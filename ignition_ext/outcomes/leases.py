"""Who sends to which webhook: one at a time, and those that fail never in the way of the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import exists, or_, select, update

from ignition_ext.database import Database, database_now
from ignition_ext.models.outcome import DeliveryState, EndpointState
from ignition_ext.outcomes.tables import DELIVERIES, ENDPOINTS
from ignition_ext.values import new_id

LEASE = timedelta(seconds=60)
"""Several times what the deliveries take that are sent between two renewals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A webhook that is ours to send to."""

    lease_id: UUID
    endpoint_id: UUID
    tenant_id: int
    url: str
    failures: int
    secret: str
    old_secret: str
    old_secret_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that is to go out."""

    id: UUID
    body: str
    attempts: int


async def lease_endpoints(
    database: Database, *, failing: bool, limit: int, without: Collection[UUID] = ()
) -> Sequence[Leased]:
    """Take webhooks for which something is due; who was served longest ago comes first.

    Args:
        database: Ignition's.
        failing: those that did not take the last delivery, or else the others.
        limit: how many at most.
        without: webhooks to leave out.
    """
    columns = ENDPOINTS.c
    async with database.read() as session:
        now = await database_now(session)
        waiting = exists().where(
            DELIVERIES.c.endpoint_id == columns.id,
            DELIVERIES.c.state == DeliveryState.PENDING,
            DELIVERIES.c.next_at <= now,
        )
        is_free = (
            columns.state == EndpointState.ENABLED,
            columns.deleted_at.is_(None),
            columns.failures > 0 if failing else columns.failures == 0,
            or_(columns.lease_until.is_(None), columns.lease_until <= now),
            or_(columns.wait_until.is_(None), columns.wait_until <= now),
            columns.id.not_in(list(without)),
        )
        query = (
            select(columns.id)
            .where(*is_free, waiting)
            .order_by(columns.lease_until.nulls_first(), columns.id)
            .limit(limit)
        )
        connection = await session.connection()
        found = list((await connection.execute(query)).scalars()) if limit else []
    if not found:
        return ()
    lease_id = new_id()
    async with database.write() as session:
        connection = await session.connection()
        locked = select(columns.id).where(columns.id.in_(found), *is_free)
        ids = list((await connection.execute(locked.with_for_update(skip_locked=True))).scalars())
        await connection.execute(
            update(ENDPOINTS)
            .where(columns.id.in_(ids))
            .values(lease_id=lease_id, lease_until=now + LEASE)
        )
        rows = (await connection.execute(select(ENDPOINTS).where(columns.id.in_(ids)))).all()
    return [
        Leased(
            lease_id=lease_id,
            endpoint_id=row.id,
            tenant_id=row.tenant_id,
            url=row.url,
            failures=row.failures,
            secret=row.secret,
            old_secret=row.old_secret
            if row.old_secret_until is not None and row.old_secret_until > now
            else "",
            old_secret_until=row.old_secret_until,
        )
        for row in rows
    ]


async def read_due(database: Database, leased: Leased, limit: int) -> Sequence[Due]:
    """Its next deliveries, the one that is due for longest first.

    None when it was switched off or removed meanwhile, or is another one's by now.
    """
    columns = DELIVERIES.c
    is_ours = exists().where(
        ENDPOINTS.c.id == leased.endpoint_id,
        ENDPOINTS.c.lease_id == leased.lease_id,
        ENDPOINTS.c.state == EndpointState.ENABLED,
        ENDPOINTS.c.deleted_at.is_(None),
    )
    async with database.read() as session:
        query = (
            select(columns.id, columns.body, columns.attempts)
            .where(
                columns.endpoint_id == leased.endpoint_id,
                columns.state == DeliveryState.PENDING,
                columns.next_at <= await database_now(session),
                is_ours,
            )
            .order_by(columns.next_at)
            .limit(limit)
        )
        return [
            Due(id=row.id, body=row.body, attempts=row.attempts)
            for row in await (await session.connection()).execute(query)
        ]


async def give_back(database: Database, leased: Leased) -> None:
    """Let others send to it."""
    async with database.write() as session:
        await (await session.connection()).execute(
            update(ENDPOINTS)
            .where(ENDPOINTS.c.id == leased.endpoint_id, ENDPOINTS.c.lease_id == leased.lease_id)
            .values(lease_until=await database_now(session), lease_id=None)
        )
