"""The money of budgets, shared by all senders on all nodes: never more is held than there is.

Before a message may go out its sender holds its price, some hundred messages at a time; what came
of it settles the hold. One transaction does both, and all of a tenant's run one after the other,
so that the sums are exact whoever sends. Nobody is asked where no budget is set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import delete, insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.costs.budget import Account, account_of
from ignition_ext.costs.budget_store import (
    budgets_of,
    lock_tenant,
    open_account,
    require_currency,
)
from ignition_ext.costs.holds import find_spent
from ignition_ext.costs.telling import Shortage, shortage_of, warn
from ignition_ext.database import Database, database_now
from ignition_ext.models import MoneyAccount, MoneyHold
from ignition_ext.schema import database_errors
from ignition_ext.values import MessageId, RunRef

STALE = timedelta(seconds=30)
"""Holds so old are looked up in the ledger when money is short: a sender settles its own within
moments, so most of these are a dead one's."""
MOST_STALE = 500
"""Of them at once: a page of the ledger, and the next look takes the next ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """One sender, for one batch.

    Attributes:
        holder: its own key.
        currency: of the rate card that its messages cost by.
    """

    holder: UUID
    run: RunRef
    campaign_id: int
    currency: str
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Money for one message: all its segments."""

    message_id: MessageId
    segments: int
    micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a message came to that money was held for; 0 gives the money back."""

    message_id: MessageId
    micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Money for the first ``count`` of the messages that were asked for.

    Attributes:
        until: when the earliest of the budgets' periods ends; what was held counts in this one.
        shortage: set where it was not enough for all.
    """

    count: int
    until: datetime | None
    shortage: Shortage | None = None


@dataclass(slots=True)
class _Sums:
    """Changes of accounts within one transaction, written at its end."""

    spent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def release(self, hold: MoneyHold, spent: int) -> None:
        for key in hold.accounts:
            self.held[key] -= hold.micros
            self.spent[key] += spent


class Accounts:
    """Holds and settles money.

    Args:
        database: Ignition's.
        stale: how old holds are that are looked up in the ledger when money is short.
    """

    def __init__(self, database: Database, *, stale: timedelta = STALE) -> None:
        self._database, self._stale = database, stale

    async def reserve(
        self, buyer: Buyer, wants: Sequence[Want], settled: Sequence[Spent] = ()
    ) -> Grant:
        """Hold money for as many messages as there is for, in their order; settle others first.

        Raises:
            ConfigurationError: a budget is in another currency than the rate card.
            DatabaseError: the database is away; nothing was held.
        """
        with database_errors(self._database):
            async with self._database.write() as session:
                return await self._reserve(session, buyer, wants, settled)

    async def shortage(self, buyer: Buyer, micros: int) -> Shortage | None:
        """Why there is no money for a message at that price; None where there is some.

        Raises:
            ConfigurationError: a budget is in another currency than the rate card.
            DatabaseError: the database is away.
        """
        with database_errors(self._database):
            async with self._database.write() as session:
                await lock_tenant(session, buyer.run.tenant_id)
                now = await database_now(session)
                accounts = await _accounts(session, buyer, now)
                if not accounts:
                    return None
                rows = [await open_account(session, account, now) for account in accounts]
                if not await self._is_short(session, rows, micros, now):
                    return None
                return await shortage_of(session, buyer.run, accounts, rows, micros, now)

    async def settle(self, buyer: Buyer, settled: Sequence[Spent]) -> None:
        """Say what messages came to; those that were settled before change nothing.

        Raises:
            DatabaseError: the database is away; the ledger will tell what they came to.
        """
        if not settled:
            return
        with database_errors(self._database):
            async with self._database.write() as session:
                await lock_tenant(session, buyer.run.tenant_id)
                sums = _Sums()
                await _settle(session, buyer, settled, sums)
                await _write(session, sums)

    async def sweep(self) -> int:
        """End what senders hold that are dead, as the ledger knows it; returns how many holds.

        Not needed for exactness: who is short of money looks for itself. It shows true sums.
        """
        with database_errors(self._database):
            async with self._database.read() as session:
                old = await database_now(session) - self._stale
                query = select(MoneyHold.tenant_id).where(col(MoneyHold.held_at) <= old)
                tenants = sorted(set(await session.exec(query)))
            ended = 0
            for tenant_id in tenants:
                async with self._database.write() as session:
                    await lock_tenant(session, tenant_id)
                    ended += await _recover(session, tenant_id, old)
        return ended

    async def _reserve(
        self,
        session: AsyncSession,
        buyer: Buyer,
        wants: Sequence[Want],
        settled: Sequence[Spent],
    ) -> Grant:
        await lock_tenant(session, buyer.run.tenant_id)
        sums = _Sums()
        await _settle(session, buyer, settled, sums)
        await _end_older(session, wants, sums)
        now = await database_now(session)
        await _write(session, sums)
        accounts = await _accounts(session, buyer, now)
        if not accounts:
            return Grant(count=len(wants), until=None)
        rows = [await open_account(session, account, now) for account in accounts]
        count = _fitting(wants, rows)
        if count < len(wants) and await _recover(session, buyer.run.tenant_id, now - self._stale):
            count = _fitting(wants, rows)
        await _hold(session, buyer, wants[:count], rows, now)
        shortage = None
        if count < len(wants):
            price = wants[count].micros
            shortage = await shortage_of(session, buyer.run, accounts, rows, price, now)
        if count:
            await warn(session, accounts, rows, now)
        ends = [account.ends_at for account in accounts if account.ends_at is not None]
        return Grant(count=count, until=min(ends, default=None), shortage=shortage)

    async def _is_short(
        self, session: AsyncSession, rows: Sequence[MoneyAccount], micros: int, now: datetime
    ) -> bool:
        """Whether an account has less; what dead senders held comes back first."""
        if _left(rows) >= micros:
            return False
        await _recover(session, rows[0].tenant_id, now - self._stale)
        return _left(rows) < micros


async def _accounts(session: AsyncSession, buyer: Buyer, now: datetime) -> list[Account]:
    accounts = []
    for campaign_id, budget in await budgets_of(session, buyer.run.tenant_id, buyer.campaign_id):
        require_currency(budget, buyer.currency)
        accounts.append(
            account_of(
                budget,
                tenant_id=buyer.run.tenant_id,
                campaign_id=campaign_id,
                run_id=buyer.run.id,
                now=now,
                zone=buyer.zone,
            )
        )
    return accounts


def _left(rows: Sequence[MoneyAccount]) -> int:
    return min(row.budget - row.spent - row.held for row in rows)


def _fitting(wants: Sequence[Want], rows: Sequence[MoneyAccount]) -> int:
    """How many of the first there is money for in each account."""
    left = _left(rows)
    for count, want in enumerate(wants):
        left -= want.micros
        if left < 0:
            return count
    return len(wants)


async def _hold(
    session: AsyncSession,
    buyer: Buyer,
    wants: Sequence[Want],
    rows: Sequence[MoneyAccount],
    now: datetime,
) -> None:
    total = sum(want.micros for want in wants)
    keys = [row.key for row in rows]
    for row in rows:
        row.held += total
        row.updated_at = now
        if wants:
            row.exhausted_at = None
    await session.flush()
    if not wants:
        return
    await (await session.connection()).execute(
        insert(MoneyHold),
        [
            {
                "message_id": want.message_id,
                "run_at": buyer.run.run_at,
                "tenant_id": buyer.run.tenant_id,
                "holder": buyer.holder,
                "accounts": keys,
                "segments": want.segments,
                "micros": want.micros,
                "held_at": now,
            }
            for want in wants
        ],
    )


async def _settle(
    session: AsyncSession, buyer: Buyer, settled: Sequence[Spent], sums: _Sums
) -> None:
    if not settled:
        return
    spent = {one.message_id: one.micros for one in settled}
    query = select(MoneyHold).where(
        col(MoneyHold.message_id).in_(list(spent)), MoneyHold.holder == buyer.holder
    )
    holds = (await session.exec(query)).all()
    for hold in holds:
        sums.release(hold, min(spent[MessageId(hold.message_id)], hold.micros))
    await _drop(session, [hold.message_id for hold in holds])


async def _end_older(session: AsyncSession, wants: Sequence[Want], sums: _Sums) -> None:
    """End what is still held for messages that are claimed anew: an earlier attempt's."""
    ids = [want.message_id for want in wants]
    query = select(MoneyHold).where(col(MoneyHold.message_id).in_(ids))
    holds = (await session.exec(query)).all()
    await _end(session, holds, sums, claimed_anew=set(ids))


async def _recover(session: AsyncSession, tenant_id: int, before: datetime) -> int:
    """End old holds of the tenant's that the ledger knows the end of; how many."""
    query = (
        select(MoneyHold)
        .where(MoneyHold.tenant_id == tenant_id, col(MoneyHold.held_at) <= before)
        .order_by(col(MoneyHold.held_at))
        .limit(MOST_STALE)
    )
    sums = _Sums()
    ended = await _end(session, (await session.exec(query)).all(), sums)
    await _write(session, sums)
    return ended


async def _end(
    session: AsyncSession,
    holds: Sequence[MoneyHold],
    sums: _Sums,
    *,
    claimed_anew: Collection[UUID] = (),
) -> int:
    found = await find_spent(session, holds, claimed_anew=claimed_anew)
    for hold, spent in found:
        sums.release(hold, spent)
    await _drop(session, [hold.message_id for hold, _ in found])
    return len(found)


async def _drop(session: AsyncSession, ids: Sequence[UUID]) -> None:
    if ids:
        statement = delete(MoneyHold).where(col(MoneyHold.message_id).in_(ids))
        await (await session.connection()).execute(statement)


async def _write(session: AsyncSession, sums: _Sums) -> None:
    keys = sorted({*sums.spent, *sums.held})
    if not keys:
        return
    query = select(MoneyAccount).where(col(MoneyAccount.key).in_(keys))
    for row in await session.exec(query):
        row.spent += sums.spent[row.key]
        row.held += sums.held[row.key]
    await session.flush()
