"""The rates that a run's messages fall under: the server's, tenant's, campaign's, and domains'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.budgets.rate import Limit
from ignition_ext.campaigns.rates import (
    DomainLimit,
    campaign_limit,
    companion_owner,
    each_domain,
    tenant_limit,
)
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.tenants import PER_DOMAIN, PER_SECOND, tenant_rates
from ignition_ext.values import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What a batch has to keep.

    Attributes:
        common: rates that every message falls under.
        domains: rates of a recipient domain, the tightest first.
    """

    common: Sequence[Limit] = ()
    domains: Sequence[DomainLimit] = ()


async def read_limits(
    session: AsyncSession, plan: CampaignPlan, *, server: str, server_rate: float | None
) -> RateLimits:
    """The rates of a campaign as they are set now; ``server`` is ``host:port``."""
    tenant_id = plan.stored.campaign.tenant_id
    tenant = await tenant_rates(session, tenant_id)
    throttle, version = plan.stored.definition.throttle, plan.stored.version
    name = plan.stored.tenant.name
    common: list[Limit] = []
    if server_rate is not None:
        common.append(Limit(key=f"server:{server}", rate=server_rate))
    if PER_SECOND in tenant:
        rate, revision = tenant[PER_SECOND]
        common.append(tenant_limit(name, rate, revision, tenant_id))
    if throttle.per_second is not None:
        is_second = plan.channel is not plan.legs[0]
        owner = companion_owner(plan.reference) if is_second else plan.reference
        common.append(campaign_limit(owner, throttle.per_second, version, tenant_id))
    if plan.channel is Channel.SMS:
        return RateLimits(common=common)  # a number has no domain
    domains: list[tuple[float, DomainLimit]] = []
    if throttle.per_domain is not None:
        limit = each_domain(plan.reference, throttle.per_domain, version, tenant_id)
        domains.append((throttle.per_domain, limit))
    if PER_DOMAIN in tenant:
        rate, revision = tenant[PER_DOMAIN]
        domains.append((rate, each_domain(name, rate, revision, tenant_id)))
        if len(domains) == 2 and domains[0][0] >= rate:
            del domains[0]  # it can never be reached
    return RateLimits(common=common, domains=[limit for _, limit in domains])
