"""Which webhooks are told of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ignition_ext.models.outcome import EndpointState
from ignition_ext.outcomes.patterns import MESSAGE_NAMES, matches
from ignition_ext.outcomes.tables import ENDPOINTS


@dataclass(frozen=True, slots=True)
class Interest:
    """A webhook, and what it wants to be told."""

    endpoint_id: UUID
    patterns: Sequence[str]


Interests = Mapping[int, Sequence[Interest]]
"""The webhooks that are switched on, by tenant."""


async def interests(connection: AsyncConnection) -> Interests:
    """The webhooks that are switched on, by tenant."""
    columns = ENDPOINTS.c
    query = select(columns.tenant_id, columns.id, columns.events).where(
        columns.state == EndpointState.ENABLED, columns.deleted_at.is_(None)
    )
    found: dict[int, list[Interest]] = {}
    for tenant_id, endpoint_id, patterns in await connection.execute(query):
        found.setdefault(tenant_id, []).append(Interest(endpoint_id, tuple(patterns)))
    return found


def of_messages(found: Interests) -> Interests:
    """Those of them that want to be told of messages."""
    return {
        tenant: wanted
        for tenant, all_of_it in found.items()
        if (wanted := [one for one in all_of_it if _wants_messages(one)])
    }


def _wants_messages(interest: Interest) -> bool:
    return any(matches(interest.patterns, name) for name in MESSAGE_NAMES)
