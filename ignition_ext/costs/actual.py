"""What runs cost: estimated before, and computed from the ledger when and after they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, bindparam, delete, insert, or_, text
from sqlalchemy.types import Boolean, Uuid
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.costs.card import Card
from ignition_ext.costs.card_store import open_card, pinned_card
from ignition_ext.costs.sums import Cost, Sum
from ignition_ext.database import Database, database_now
from ignition_ext.models import CampaignRun, CostKind, EstimateBasis, RunCost, RunRateCard
from ignition_ext.models.types import UtcDateTime
from ignition_ext.schema import database_errors
from ignition_ext.statements import load_statements
from ignition_ext.values import Channel, RunId, RunRef, TenantId

TOP_UP = timedelta(days=3)
"""So long after its end a run's cost is computed again: a receipt, a late result or a redrive may
have changed what was accepted. Carriers' receipts come within two days."""
AGAIN = timedelta(hours=1)
"""How old a sum of such a run may be."""


async def accepted_cost(database: Database, run: RunRef) -> Cost | None:
    """What a run has cost so far; None without a rate card.

    It counts what the servers accepted at the prices of the run's own card, so that it is the
    same whenever it is computed, whatever card is in force. Reads each of the run's messages:
    seconds for a million.
    """
    with database_errors(database):
        async with database.read() as session:
            row = await pinned_card(session, run)
            if row is None:
                return None
            return await _accepted(database, session, run, await open_card(session, row))


async def compute_cost(database: Database, run: RunRef) -> Cost | None:
    """The same, and keep it for the views."""
    cost = await accepted_cost(database, run)
    if cost is not None:
        with database_errors(database):
            await store_cost(database, run, CostKind.ACTUAL, cost)
    return cost


async def _accepted(database: Database, session: AsyncSession, run: RunRef, card: Card) -> Cost:
    cost = Cost(currency=card.currency, card=card.version)
    rows = await read_groups(database, session, run, card, "read_accepted")
    for country, prefix, network, messages, segments in rows:
        channel = Channel.SMS if prefix else Channel.EMAIL
        micros = card.segment_micros(channel, prefix, network)
        cost.add(country, int(messages), int(segments), micros)
    return cost


async def read_groups(
    database: Database, session: AsyncSession, run: RunRef, card: Card, name: str
) -> Sequence[Row[Any]]:
    """A run's messages in as few groups as its card has prices, by a statement of that name."""
    words = load_statements("ignition_ext.costs", f"cost.{database.dialect}.sql")[name]
    statement = text(words).bindparams(
        bindparam("run_id", type_=Uuid()),
        bindparam("run_at", type_=UtcDateTime()),
        bindparam("has_networks", type_=Boolean()),
    )
    values = {
        "run_id": run.id,
        "run_at": run.run_at,
        "digits": 1 + card.longest_prefix,  # the plus sign
        "has_networks": card.has_networks,
    }
    return (await (await session.connection()).execute(statement, values)).all()


async def store_cost(database: Database, run: RunRef, kind: CostKind, cost: Cost) -> None:
    """Keep a run's cost in place of what was kept of that kind."""
    async with database.write() as session:
        connection = await session.connection()
        now = await database_now(session)
        known = delete(RunCost).where(
            col(RunCost.run_id) == run.id, col(RunCost.kind) == kind.value
        )
        await connection.execute(known)
        # A run that cost nothing has its row too: it says so.
        rows = cost.countries or {"": Sum()}
        await connection.execute(
            insert(RunCost),
            [
                {
                    "run_id": run.id,
                    "kind": kind.value,
                    "country": country,
                    "tenant_id": run.tenant_id,
                    "currency": cost.currency,
                    "messages": one.messages,
                    "segments": one.segments,
                    "unpriced": one.unpriced,
                    "micros": one.micros,
                    "basis": cost.basis,
                    "computed_at": now,
                }
                for country, one in rows.items()
            ],
        )


async def read_cost(session: AsyncSession, run_id: UUID, kind: CostKind) -> Cost | None:
    """What is kept of a run's cost; None where nothing is."""
    rows = (
        await session.exec(select(RunCost).where(RunCost.run_id == run_id, RunCost.kind == kind))
    ).all()
    if not rows:
        return None
    first = rows[0]
    run = RunRef(id=RunId(run_id), run_at=first.computed_at, tenant_id=TenantId(first.tenant_id))
    card = await pinned_card(session, run)
    cost = Cost(
        currency=first.currency,
        card=0 if card is None else card.version,
        basis=None if first.basis is None else EstimateBasis(first.basis),
    )
    for row in rows:
        cost.countries[row.country] = Sum(
            messages=row.messages, segments=row.segments, unpriced=row.unpriced, micros=row.micros
        )
    return cost


async def outdated_runs(session: AsyncSession, *, limit: int) -> Sequence[RunRef]:
    """Ended runs with a card whose cost was never computed, or may have changed since."""
    now = await database_now(session)
    known = select(RunCost.run_id).where(
        RunCost.run_id == CampaignRun.id, RunCost.kind == CostKind.ACTUAL.value
    )
    fresh = known.where(col(RunCost.computed_at) > now - AGAIN)
    query = (
        select(CampaignRun.id, CampaignRun.run_at, CampaignRun.tenant_id)
        .join(RunRateCard, col(RunRateCard.run_id) == col(CampaignRun.id))
        .where(
            col(CampaignRun.ended_at).is_not(None),
            or_(
                ~known.exists(),
                and_(col(CampaignRun.ended_at) > now - TOP_UP, ~fresh.exists()),
            ),
        )
        .order_by(col(CampaignRun.ended_at))
        .limit(limit)
    )
    return [
        RunRef(id=RunId(id), run_at=run_at, tenant_id=TenantId(tenant_id))
        for id, run_at, tenant_id in await session.exec(query)
    ]


async def cost_status(
    database: Database, run: RunRef, *, computes: bool
) -> Mapping[str, Any] | None:
    """Both costs of a run for JSON, ``estimate`` and ``actual``; None without a rate card.

    Args:
        computes: compute what is not kept yet, instead of leaving it out.
    """
    async with database.read() as session:
        if await pinned_card(session, run) is None:
            return None
        estimate = await read_cost(session, run.id, CostKind.ESTIMATE)
        actual = await read_cost(session, run.id, CostKind.ACTUAL)
    if actual is None and computes:
        actual = await accepted_cost(database, run)
    return {
        "estimate": None if estimate is None else estimate.document,
        "actual": None if actual is None else actual.document,
    }
