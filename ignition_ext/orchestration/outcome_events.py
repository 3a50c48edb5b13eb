"""Tells Prefect what the outbox holds: many events with one call of its API.

An event that was posted and not noted as told, because a process died in between, is posted again
with the same id. docs/events.md lists the names and what the payloads hold.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any
from uuid import UUID, uuid5

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.events import Event
from prefect.events.schemas.events import RelatedResource, Resource
from sqlalchemy import Row, select, update

from ignition_ext.database import Database, database_now
from ignition_ext.outcomes.outbox import EventName
from ignition_ext.outcomes.summaries import MOST_EXAMPLES
from ignition_ext.outcomes.tables import CURSORS, OUTBOX, TENANTS

LEASE = timedelta(seconds=60)
"""For which one alone tells Prefect; renewed with each call, which takes about a second."""
AT_ONCE = 200
"""Events in one call: some hundred kilobytes."""
IN_BULK = frozenset({EventName.EMAIL_OPENED, EventName.EMAIL_CLICKED})
"""What happens to messages by the thousand: one event for those of a campaign, with a count."""
NEVER = frozenset({400, 413, 422})
"""Answers that say that a document itself is wrong, or too large."""
LOGGER = logging.getLogger(__name__)
GATHERED = UUID("6f6fae6e-3d6a-4c1c-8d0a-6c1c6d2f8f1e")
"""The namespace of their ids, which are made of those that were gathered."""


async def tell_prefect(database: Database, client: PrefectClient) -> int:
    """Post what waits; returns how many rows of the outbox that were, 0 where another one is at it.

    Raises:
        httpx.HTTPError: the server does not take them; they stay.
    """
    if not await _take_lease(database):
        return 0
    total = 0
    try:
        while rows := await _untold(database):
            await _post(client, list(prefect_events(rows)))
            total += len(rows)
            await _note_told(database, [row.id for row in rows])
    finally:
        await _release_lease(database)
    return total


async def _post(client: PrefectClient, events: Sequence[Event]) -> None:
    """Post events; one that the server will never take is passed over, so that others get there."""
    documents = [event.model_dump(mode="json") for event in events]
    try:
        answer = await client.request("POST", "/events", json=documents)
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in NEVER:
            raise
        if len(events) == 1:
            words = " ".join(error.response.text.split())[:500]
            LOGGER.warning("Prefect refuses the event %s: %s", events[0].id, words)
            return
        middle = len(events) // 2
        await _post(client, events[:middle])
        await _post(client, events[middle:])


async def _take_lease(database: Database) -> bool:
    async with database.read() as session:
        waiting = select(OUTBOX.c.id).where(OUTBOX.c.told_at.is_(None)).limit(1)
        if (await (await session.connection()).execute(waiting)).first() is None:
            return False
    async with database.write() as session:
        now = await database_now(session)
        taken = await (await session.connection()).execute(
            update(CURSORS)
            .where(CURSORS.c.name == "prefect", CURSORS.c.moved_at <= now)
            .values(moved_at=now + LEASE)
        )
        return bool(taken.rowcount)


async def _release_lease(database: Database) -> None:
    async with database.write() as session:
        now = await database_now(session)
        await (await session.connection()).execute(
            update(CURSORS).where(CURSORS.c.name == "prefect").values(moved_at=now)
        )


async def _untold(database: Database) -> Sequence[Row[Any]]:
    async with database.read() as session:
        query = (
            select(OUTBOX, TENANTS.c.name.label("tenant"))
            .join(TENANTS, TENANTS.c.id == OUTBOX.c.tenant_id)
            .where(OUTBOX.c.told_at.is_(None))
            .order_by(OUTBOX.c.id)
            .limit(AT_ONCE)
        )
        return (await (await session.connection()).execute(query)).all()


async def _note_told(database: Database, keys: Sequence[UUID]) -> None:
    async with database.write() as session:
        connection = await session.connection()
        now = await database_now(session)
        await connection.execute(update(OUTBOX).where(OUTBOX.c.id.in_(keys)).values(told_at=now))
        await connection.execute(
            update(CURSORS).where(CURSORS.c.name == "prefect").values(moved_at=now + LEASE)
        )


def prefect_events(rows: Iterable[Row[Any]]) -> Iterator[Event]:
    """The rows as Prefect's events: one for each, or for all of a campaign where they are many."""
    singles: list[Row[Any]] = []
    many: list[Row[Any]] = []
    for row in rows:
        (many if row.name in IN_BULK else singles).append(row)
    for row in singles:
        yield _event(row, row.id, row.subject, row.payload)
    many.sort(key=_campaign)
    for _, group in groupby(many, key=_campaign):
        yield _gathered(list(group))


def _campaign(row: Row[Any]) -> tuple[str, str, str]:
    return row.tenant, row.name, str(row.payload.get("campaign") or "")


def _gathered(rows: list[Row[Any]]) -> Event:
    first = rows[0]
    reference = first.payload.get("campaign")
    payload = {
        "campaign": reference,
        "count": len(rows),
        "examples": [row.subject for row in rows[:MOST_EXAMPLES]],
    }
    subject = f"campaign:{str(reference).partition('/')[2]}" if reference else first.subject
    key = uuid5(GATHERED, " ".join(str(row.id) for row in rows))
    return _event(first, key, subject, payload)


def _event(row: Row[Any], key: UUID, subject: str, payload: dict[str, Any]) -> Event:
    reference, flow_run_id = payload.get("campaign"), payload.get("flow_run_id")
    tenant = f"ignition.tenant.{row.tenant}"
    related = [_resource(tenant, row.tenant, role="tenant")]
    if flow_run_id:
        related.append(_resource(f"prefect.flow-run.{flow_run_id}", role="flow-run"))
    if reference:
        resource_id = f"ignition.campaign.{str(reference).replace('/', '.')}"
        name = str(reference)
    else:
        kind, _, name = subject.partition(":")
        resource_id = f"ignition.{kind}.{row.tenant}.{name}" if name else f"{tenant}.{kind}"
    return Event(
        id=key,
        occurred=row.at,
        event=row.name,
        resource=Resource(
            {
                "prefect.resource.id": resource_id,
                "prefect.resource.name": name or subject,
                "ignition.subject": subject,
            }
        ),
        related=related,
        payload=payload,
    )


def _resource(key: str, name: str | None = None, *, role: str) -> RelatedResource:
    labels = {"prefect.resource.id": key, "prefect.resource.role": role}
    if name is not None:
        labels["prefect.resource.name"] = name
    return RelatedResource(labels)
