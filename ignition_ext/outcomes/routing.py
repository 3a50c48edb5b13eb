"""Lays out what was announced for the webhooks of its tenant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ignition_ext.database import Database, database_now
from ignition_ext.outcomes.batches import (
    MOST_OUTCOMES,
    body,
    delivery,
    written,
)
from ignition_ext.outcomes.interests import Interests, interests
from ignition_ext.outcomes.outbox import JSON
from ignition_ext.outcomes.patterns import matches
from ignition_ext.outcomes.tables import DELIVERIES, OUTBOX, TENANTS

AT_ONCE = 1000
"""Events that one transaction lays out: those of a busy second."""


async def route_announced(database: Database) -> int:
    """Lay out what waits, up to some hundreds; returns how many events that were.

    Safe in any number: each takes what no other one has in hand.
    """
    columns = OUTBOX.c
    async with database.read() as session:
        waiting = select(columns.id).where(columns.routed_at.is_(None)).limit(1)
        if (await (await session.connection()).execute(waiting)).first() is None:
            return 0
    async with database.write() as session:
        connection = await session.connection()
        query = (
            select(OUTBOX)
            .where(columns.routed_at.is_(None))
            .order_by(columns.id)
            .limit(AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        events = (await connection.execute(query)).all()
        if not events:
            return 0
        now = await database_now(session)
        tenants = await _names(connection)
        rows = list(_deliveries(events, await interests(connection), tenants, now))
        if rows:
            await connection.execute(insert(DELIVERIES), rows)
        await connection.execute(
            update(OUTBOX)
            .where(columns.id.in_([event.id for event in events]))
            # Whom the private facts were for has them now.
            .values(routed_at=now, private={})
        )
    return len(events)


async def _names(connection: AsyncConnection) -> dict[int, str]:
    found = await connection.execute(select(TENANTS.c.id, TENANTS.c.name))
    return dict(found.tuples().all())


def _deliveries(
    events: Sequence[Row[Any]], wanted: Interests, tenants: dict[int, str], now: datetime
) -> Iterator[dict[str, Any]]:
    ordered = sorted(events, key=lambda event: (event.tenant_id, event.name))
    for (tenant_id, name), group in groupby(ordered, lambda one: (one.tenant_id, one.name)):
        wanting = [one for one in wanted.get(tenant_id, ()) if matches(one.patterns, name)]
        if not wanting:
            continue
        while together := list(islice(group, MOST_OUTCOMES)):
            told: Sequence[JSON] = [_told(event) for event in together]
            text = body(
                name,
                max(event.at for event in together),
                {"tenant": tenants.get(tenant_id), "events": told},
            )
            for one in wanting:
                yield delivery(
                    endpoint_id=one.endpoint_id,
                    tenant_id=tenant_id,
                    name=name,
                    text=text,
                    outcomes=len(together),
                    now=now,
                )


def _told(event: Row[Any]) -> dict[str, JSON]:
    return {
        **event.payload,
        **event.private,
        "id": str(event.id),
        "subject": event.subject,
        "at": written(event.at),
    }
