"""What a run is expected to cost that no pre-flight went before, and which budgets it would exceed.

Its recipients are counted and priced by its own card; how long their texts are is taken from what
is known already, so that none has to be made: from the version's last pre-flight, else from what
the campaign's last run was charged, else each text counts as one segment. Emails need be counted
only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.costs.actual import read_cost, read_groups, store_cost
from ignition_ext.costs.budget import Budget
from ignition_ext.costs.budget_store import budgets_of, left_of
from ignition_ext.costs.card import Card
from ignition_ext.costs.card_store import open_card, pin_card
from ignition_ext.costs.money import amount_text
from ignition_ext.costs.sums import Cost, Sum
from ignition_ext.database import Database
from ignition_ext.models import CampaignRun, CostKind, EstimateBasis, RunCost, Tenant
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.schema import database_errors
from ignition_ext.values import Channel, RunRef


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lengths:
    """Segments and messages of texts that are known, by country."""

    basis: EstimateBasis
    countries: Mapping[str, tuple[int, int]]

    def of(self, country: str) -> tuple[int, int]:
        """So many segments for so many messages to the country, else to all of them."""
        if country in self.countries:
            return self.countries[country]
        known = self.countries.values()
        if not known:
            return 1, 1
        return sum(segments for segments, _ in known), sum(messages for _, messages in known)


_NO_TEXTS = _Lengths(basis=EstimateBasis.COUNT, countries={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """A budget that has less left than a run is expected to cost.

    Attributes:
        campaign_id: whose budget it is; None for the tenant's.
        left: millionths.
        expected: of the run, millionths.
    """

    budget: Budget
    campaign_id: int | None
    left: int
    expected: int

    @property
    def text(self) -> str:
        """``the run is expected to cost 12.30 EUR, and of the tenant's budget …``."""
        currency = self.budget.money.currency
        whose = "the tenant's" if self.campaign_id is None else "the campaign's"
        return (
            f"the run is expected to cost {amount_text(self.expected, currency)} {currency}, and"
            f" of {whose} budget of {self.budget} {amount_text(max(self.left, 0), currency)}"
            f" {currency} are left: it will wait for more"
        )


async def expect_cost(database: Database, run: RunRef) -> Cost | None:
    """Estimate a run whose audience is in the ledger, and keep it for the views.

    It is tied to the rate card in force, if it is not yet to one.
    Reads each of the run's messages once: a second for a million.

    Returns:
        None without a rate card, and where an estimate is kept, such as pre-flight's.
    """
    with database_errors(database):
        # The second run of a campaign with two channels has its audience before it begins.
        row = await pin_card(database, run)
        if row is None:
            return None
        async with database.read() as session:
            if await read_cost(session, run.id, CostKind.ESTIMATE) is not None:
                return None
            card = await open_card(session, row)
            recipients = await read_groups(database, session, run, card, "read_recipients")
            has_texts = any(prefix for _, prefix, _, _ in recipients)
            lengths = await _lengths(session, run) if has_texts else _NO_TEXTS
            cost = _expected(recipients, card, lengths)
        await store_cost(database, run, CostKind.ESTIMATE, cost)
    return cost


def _expected(recipients: Sequence[Row[Any]], card: Card, lengths: _Lengths) -> Cost:
    sums: dict[str, Sum] = {}
    for country, prefix, network, messages in recipients:
        channel = Channel.SMS if prefix else Channel.EMAIL
        price = card.segment_micros(channel, prefix, network)
        sums.setdefault(country, Sum()).add(int(messages), int(messages), price)
    cost = Cost(currency=card.currency, card=card.version, basis=lengths.basis)
    for country, one in sums.items():
        segments, of_messages = lengths.of(country) if country else (1, 1)
        cost.countries[country] = Sum(
            messages=one.messages,
            segments=_scaled(one.segments, segments, of_messages),
            unpriced=_scaled(one.unpriced, segments, of_messages),
            micros=_scaled(one.micros, segments, of_messages),
        )
    return cost


def _scaled(count: int, times: int, by: int) -> int:
    """Rounded to the nearest, half of one and more upwards."""
    return (2 * count * times + by) // (2 * by)


async def _lengths(session: AsyncSession, run: RunRef) -> _Lengths:
    this = (await session.exec(select(CampaignRun).where(CampaignRun.id == run.id))).one()
    earlier = (
        select(RunCost.run_id)
        .join(CampaignRun, col(CampaignRun.id) == col(RunCost.run_id))
        .where(
            CampaignRun.tenant_id == run.tenant_id,
            CampaignRun.campaign_id == this.campaign_id,
            CampaignRun.id != run.id,
            RunCost.messages > 0,
            RunCost.country != "",
        )
        .order_by(col(CampaignRun.run_at).desc())
        .limit(1)
    )
    by_preflight = earlier.where(
        RunCost.kind == CostKind.ESTIMATE.value,
        RunCost.basis == EstimateBasis.PREFLIGHT.value,
        CampaignRun.campaign_version == this.campaign_version,
    )
    charged = earlier.where(RunCost.kind == CostKind.ACTUAL.value)
    for basis, kind, query in (
        (EstimateBasis.LAST_PREFLIGHT, CostKind.ESTIMATE, by_preflight),
        (EstimateBasis.LAST_RUN, CostKind.ACTUAL, charged),
    ):
        run_id = (await session.exec(query)).first()
        known = None if run_id is None else await read_cost(session, run_id, kind)
        if known is not None:
            countries = {
                name: (one.segments, one.messages)
                for name, one in known.countries.items()
                if name and one.messages
            }
            return _Lengths(basis=basis, countries=countries)
    return _Lengths(basis=EstimateBasis.LEAST, countries={})


async def tell_shortfalls(database: Database, run: RunRef, cost: Cost) -> list[Shortfall]:
    """The budgets that a run would exceed which begins now, each announced.

    A budget in another currency than the rate card is none of them: the run does not begin.
    """
    with database_errors(database):
        async with database.read() as session:
            found = await _shortfalls(session, run, cost)
        if found:
            async with database.write() as session:
                await announce(session, [_announcement(one, run, cost) for one in found])
    return found


async def _shortfalls(session: AsyncSession, run: RunRef, cost: Cost) -> list[Shortfall]:
    row = (await session.exec(select(CampaignRun).where(CampaignRun.id == run.id))).one()
    budgets = await budgets_of(session, run.tenant_id, row.campaign_id)
    if not budgets:
        return []
    tenant = (await session.exec(select(Tenant).where(Tenant.id == run.tenant_id))).one()
    expected, found = cost.total.micros, []
    for owner, budget in budgets:
        left = await left_of(session, run.tenant_id, owner, budget, ZoneInfo(tenant.timezone))
        if budget.money.currency == cost.currency and expected > left:
            found.append(Shortfall(budget=budget, campaign_id=owner, left=left, expected=expected))
    return found


def _announcement(one: Shortfall, run: RunRef, cost: Cost) -> Announcement:
    currency = one.budget.money.currency
    return Announcement(
        tenant_id=run.tenant_id,
        name=EventName.BUDGET_SHORT,
        subject=f"run:{run.id}",
        payload={
            "budget": amount_text(one.budget.money.micros, currency),
            "left": amount_text(max(one.left, 0), currency),
            "expected": amount_text(one.expected, currency),
            "basis": None if cost.basis is None else cost.basis.value,
            "currency": currency,
            "per": one.budget.per.value,
            "campaign_id": one.campaign_id,
            "run_id": str(run.id),
        },
    )
