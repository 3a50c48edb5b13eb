"""Webhooks of tenants: added, switched on and off, given new secrets; every change is audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database, database_now
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.models.outcome import (
    DeliveryState,
    EndpointState,
    WebhookDelivery,
    WebhookEndpoint,
)
from ignition_ext.outcomes.addresses import Guard, checked_url
from ignition_ext.outcomes.batches import body, delivery
from ignition_ext.outcomes.outbox import EventName
from ignition_ext.outcomes.patterns import checked_patterns
from ignition_ext.outcomes.sealing import seal
from ignition_ext.outcomes.signature import new_secret
from ignition_ext.settings import Settings
from ignition_ext.tenants import get_tenant

OVERLAP = timedelta(hours=24)
"""For which the secret before signs as well: time for a receiver's people to change theirs."""
MOST_ENDPOINTS = 20
"""Of one tenant: each outcome is stored and sent once for each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A webhook, and its secret, which is shown this once."""

    endpoint: WebhookEndpoint
    secret: str


async def add_endpoint(
    database: Database,
    *,
    tenant: str,
    url: str,
    events: Sequence[str],
    actor: str,
    settings: Settings,
) -> NewSecret:
    """Register a webhook; it is told of what happens from now on.

    Raises:
        NotFoundError: there is no such tenant.
        ConfigurationError: the URL or a name of an event cannot be used, or there is no key.
        ConflictError: the tenant has that URL already, or too many.
    """
    checked = checked_url(url, Guard.of(settings.webhook_allow_private))
    endpoint = WebhookEndpoint(tenant_id=0, url=checked, events=checked_patterns(events), secret="")
    secret = new_secret()
    endpoint.secret = seal(secret, endpoint.id, settings)
    async with database.write() as session:
        owner = await get_tenant(session, tenant)
        assert owner.id is not None
        known = await _of_tenant(session, owner.id)
        if any(one.url == checked for one in known):
            raise ConflictError(
                f"tenant {tenant!r} has a webhook with this URL already.",
                mend=f"Run: ignition webhook list --tenant {tenant}",
            )
        if len(known) >= MOST_ENDPOINTS:
            raise ConflictError(
                f"tenant {tenant!r} has {MOST_ENDPOINTS} webhooks already.",
                mend="Remove one first: ignition webhook remove ID",
            )
        endpoint.tenant_id = owner.id
        session.add(endpoint)
        await _record(session, endpoint, "webhook.added", actor)
    return NewSecret(endpoint=endpoint, secret=secret)


async def list_endpoints(session: AsyncSession, tenant: str) -> Sequence[WebhookEndpoint]:
    """A tenant's webhooks, the oldest first.

    Raises:
        NotFoundError: there is no such tenant.
    """
    owner = await get_tenant(session, tenant)
    assert owner.id is not None
    return await _of_tenant(session, owner.id)


async def get_endpoint(session: AsyncSession, tenant: str, endpoint_id: UUID) -> WebhookEndpoint:
    """One webhook of a tenant.

    Raises:
        NotFoundError: there is no such tenant, or it has no such webhook.
    """
    for endpoint in await list_endpoints(session, tenant):
        if endpoint.id == endpoint_id:
            return endpoint
    raise NotFoundError(
        f"tenant {tenant!r} has no webhook {endpoint_id}.",
        mend=f"Run: ignition webhook list --tenant {tenant}",
    )


async def remove_endpoint(
    database: Database, *, tenant: str, endpoint_id: UUID, actor: str
) -> None:
    """Tell it nothing any more, also not what waits.

    Raises:
        NotFoundError: there is none.
    """
    async with database.write() as session:
        endpoint = await get_endpoint(session, tenant, endpoint_id)
        endpoint.deleted_at = await database_now(session)
        endpoint.secret = endpoint.old_secret = ""
        session.add(endpoint)
        await _record(session, endpoint, "webhook.removed", actor)


async def switch_endpoint(
    database: Database, *, tenant: str, endpoint_id: UUID, enabled: bool, reason: str, actor: str
) -> bool:
    """Switch it on or off; returns whether that changed anything.

    Switched off, it misses what happens meanwhile; what waited for it goes out when it is on.

    Raises:
        NotFoundError: there is none.
    """
    state = EndpointState.ENABLED if enabled else EndpointState.DISABLED
    async with database.write() as session:
        endpoint = await get_endpoint(session, tenant, endpoint_id)
        if endpoint.state == state:
            return False
        endpoint.state, endpoint.reason = state, reason
        endpoint.failures, endpoint.failing_since, endpoint.wait_until = 0, None, None
        session.add(endpoint)
        await _record(session, endpoint, f"webhook.{state.value}", actor)
    return True


async def rotate_secret(
    database: Database,
    *,
    tenant: str,
    endpoint_id: UUID,
    overlap: timedelta = OVERLAP,
    actor: str,
    settings: Settings,
) -> NewSecret:
    """Give it a new secret; the one before signs beside it for a while.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: there is no usable key.
    """
    secret = new_secret()
    async with database.write() as session:
        endpoint = await get_endpoint(session, tenant, endpoint_id)
        endpoint.old_secret = endpoint.secret
        endpoint.old_secret_until = await database_now(session) + overlap
        endpoint.secret = seal(secret, endpoint.id, settings)
        session.add(endpoint)
        await _record(session, endpoint, "webhook.secret_rotated", actor)
    return NewSecret(endpoint=endpoint, secret=secret)


async def add_test(database: Database, *, tenant: str, endpoint_id: UUID) -> UUID:
    """Lay out a delivery that tells of nothing; returns its id.

    Raises:
        NotFoundError: there is no such webhook.
    """
    async with database.write() as session:
        endpoint = await get_endpoint(session, tenant, endpoint_id)
        now = await database_now(session)
        row = delivery(
            endpoint_id=endpoint.id,
            tenant_id=endpoint.tenant_id,
            name=EventName.WEBHOOK_TEST,
            text=body(EventName.WEBHOOK_TEST, now, {"tenant": tenant, "events": []}),
            outcomes=0,
            now=now,
        )
        session.add(WebhookDelivery(**row))
    found: UUID = row["id"]
    return found


async def list_deliveries(
    session: AsyncSession,
    endpoint_id: UUID,
    *,
    state: DeliveryState | None = None,
    limit: int = 50,
) -> Sequence[WebhookDelivery]:
    """A webhook's newest deliveries, the newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    query = query.order_by(col(WebhookDelivery.id).desc()).limit(limit)
    return (await session.exec(query)).all()


async def _of_tenant(session: AsyncSession, tenant_id: int) -> Sequence[WebhookEndpoint]:
    query = (
        select(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == tenant_id, col(WebhookEndpoint.deleted_at).is_(None))
        .order_by(col(WebhookEndpoint.created_at), col(WebhookEndpoint.id))
    )
    return (await session.exec(query)).all()


async def _record(
    session: AsyncSession, endpoint: WebhookEndpoint, action: str, actor: str
) -> None:
    await audit.record(
        session,
        tenant_id=endpoint.tenant_id,
        actor=actor,
        action=action,
        subject=f"webhook:{endpoint.id}",
        after={
            "url": endpoint.url,
            "events": endpoint.events,
            "state": endpoint.state,
            "reason": endpoint.reason,
        },
    )
