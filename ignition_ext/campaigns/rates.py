"""The rates that tenants and campaigns set, by the names that all senders know them by."""

from __future__ import annotations

from collections.abc import Callable

from ignition_ext.budgets.lines import Lines
from ignition_ext.budgets.rate import Limit
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.models import Tenant
from ignition_ext.tenants import PER_DOMAIN, PER_SECOND, tenant_rates
from ignition_ext.values import Channel

DomainLimit = Callable[[str], Limit]


async def announce_tenant(database: Database, tenant: Tenant) -> None:
    """Let a tenant's changed rates count at once, also for runs under way."""
    assert tenant.id is not None
    async with database.read() as session:
        rates = await tenant_rates(session, tenant.id)
    lines = Lines(database)
    if PER_SECOND in rates:
        await lines.announce(tenant_limit(tenant.name, *rates[PER_SECOND], tenant.id))
    if PER_DOMAIN in rates:
        limit = each_domain(tenant.name, *rates[PER_DOMAIN], tenant.id)
        await lines.announce(limit(""), prefix=True)


async def announce_campaign(
    database: Database, definition: CampaignDefinition, version: int, tenant_id: int
) -> None:
    """The same for a campaign of which a new version is in force."""
    lines, throttle, reference = Lines(database), definition.throttle, definition.reference
    if definition.sms is not None and definition.sms.throttle.per_second is not None:
        rate, owner = definition.sms.throttle.per_second, companion_owner(reference)
        await lines.announce(campaign_limit(owner, rate, version, tenant_id))
    if throttle.per_second is not None:
        await lines.announce(campaign_limit(reference, throttle.per_second, version, tenant_id))
    if throttle.per_domain is not None:
        limit = each_domain(reference, throttle.per_domain, version, tenant_id)
        await lines.announce(limit(""), prefix=True)


def companion_owner(reference: str) -> str:
    """Whose the rate of a campaign's second channel is: each channel has one of its own."""
    return f"{reference} {Channel.SMS}"


def tenant_limit(name: str, rate: float, revision: int, tenant_id: int) -> Limit:
    """All messages of a tenant."""
    return Limit(key=f"tenant:{name}", rate=rate, revision=revision, tenant_id=tenant_id)


def campaign_limit(reference: str, rate: float, version: int, tenant_id: int) -> Limit:
    """All messages of a campaign, whichever of its runs they are of."""
    return Limit(key=f"campaign:{reference}", rate=rate, revision=version, tenant_id=tenant_id)


def each_domain(owner: str, rate: float, revision: int, tenant_id: int) -> DomainLimit:
    """Messages to one recipient domain; ``owner`` is a tenant, or a campaign's reference."""

    def limit(domain: str) -> Limit:
        key = f"domain:{owner}:{domain}"
        return Limit(key=key, rate=rate, revision=revision, tenant_id=tenant_id)

    return limit
