"""Sends a webhook's failed deliveries again, with the ids and bodies that they had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database, database_now
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.models.outcome import DeliveryState, EndpointState
from ignition_ext.outcomes.endpoints import get_endpoint
from ignition_ext.outcomes.signature import webhook_id
from ignition_ext.outcomes.tables import DELIVERIES

MOST_NAMED = 20
"""Deliveries that the audit log names; of more it says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivered:
    """What goes out again.

    Attributes:
        count: how many deliveries.
        is_enabled: whether the webhook is on; they wait until it is.
    """

    count: int
    is_enabled: bool


async def redeliver(
    database: Database,
    *,
    tenant: str,
    endpoint_id: UUID,
    ids: Sequence[UUID] = (),
    since: datetime | None = None,
    actor: str,
) -> Redelivered:
    """Let failed deliveries go out again, each with all its attempts before it.

    Args:
        database: Ignition's.
        tenant: whose webhook.
        endpoint_id: which.
        ids: these deliveries.
        since: besides these, all that failed of those that were made from then on.
        actor: for the audit log.

    Raises:
        NotFoundError: there is no such webhook, or it has no such delivery.
        ConflictError: one of ``ids`` has not failed.
    """
    columns = DELIVERIES.c
    failed = columns.endpoint_id == endpoint_id, columns.state == DeliveryState.FAILED
    async with database.write() as session:
        endpoint = await get_endpoint(session, tenant, endpoint_id)
        await _require_failed(session, endpoint_id, ids)
        chosen: list[ColumnElement[bool]] = [columns.id.in_(list(ids))]
        if since is not None:
            chosen.append(columns.created_at >= since)
        again = (
            update(DELIVERIES)
            .where(*failed, or_(*chosen))
            .values(
                state=DeliveryState.PENDING,
                attempts=0,
                next_at=await database_now(session),
                ended_at=None,
            )
            .returning(columns.id)
        )
        keys = sorted((await (await session.connection()).execute(again)).scalars())
        if keys:
            named = {"deliveries": [webhook_id(key) for key in keys]}
            await audit.record(
                session,
                tenant_id=endpoint.tenant_id,
                actor=actor,
                action="webhook.redelivered",
                subject=f"webhook:{endpoint_id}",
                after={
                    "count": len(keys),
                    **(named if len(keys) <= MOST_NAMED else {}),
                    **({} if since is None else {"since": since.isoformat()}),
                },
            )
    return Redelivered(count=len(keys), is_enabled=endpoint.state == EndpointState.ENABLED)


async def _require_failed(session: AsyncSession, endpoint_id: UUID, ids: Sequence[UUID]) -> None:
    columns = DELIVERIES.c
    query = select(columns.id, columns.state, columns.next_at).where(
        columns.endpoint_id == endpoint_id, columns.id.in_(list(ids))
    )
    found = {row.id: row for row in await (await session.connection()).execute(query)}
    for key in ids:
        row = found.get(key)
        if row is None:
            raise NotFoundError(
                f"the webhook {endpoint_id} has no delivery {webhook_id(key)}.",
                mend="Look at `ignition webhook deliveries`; they are kept for"
                " IGNITION_OUTCOME_DAYS days.",
            )
        state = DeliveryState(row.state)
        match state:
            case DeliveryState.FAILED:
                continue
            case DeliveryState.DELIVERED:
                raise ConflictError(
                    f"the delivery {webhook_id(key)} was taken, and its body is not kept.",
                    mend="See `ignition messages list` for what became of messages.",
                )
            case DeliveryState.PENDING:
                raise ConflictError(
                    f"the delivery {webhook_id(key)} has not failed: it goes out by itself"
                    f" at {row.next_at:%Y-%m-%d %H:%M:%S} UTC.",
                    mend="Wait; failed ones are listed with --state failed.",
                )
            case _:
                assert_never(state)
