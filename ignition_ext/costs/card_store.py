"""Rate cards as they are stored: versions of a tenant's, of which one is in force at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.costs.card import LONGEST_PREFIX, Card, Price
from ignition_ext.costs.card_file import card_text
from ignition_ext.costs.money import checked_currency, price_text
from ignition_ext.database import Database, database_now
from ignition_ext.errors import ConfigurationError, NotFoundError
from ignition_ext.models import PriceKind, RateCard, RateCardEntry, RunRateCard, Tenant
from ignition_ext.tenants import get_tenant
from ignition_ext.values import RunRef

SOURCE_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCard:
    """A card to be stored.

    Attributes:
        email_micros: of one email; None: emails cost nothing.
        valid_from: from when on it is in force; None: from now.
        valid_to: until when; None: until another is.
        source: the file's name, for people.
    """

    currency: str
    prices: Sequence[Price]
    email_micros: int | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    source: str = ""

    @property
    def digest(self) -> str:
        """Of everything that decides a cost."""
        said = f"{self.currency}\n{self.email_micros}\n{card_text(self.prices)}"
        return hashlib.sha256(said.encode()).hexdigest()


async def import_card(
    database: Database, *, tenant: str, card: NewCard, actor: str
) -> tuple[RateCard, bool]:
    """Store a card as the tenant's newest version; says also whether it is a new one.

    The same prices again, without times of their own, change nothing.

    Raises:
        ConfigurationError: there is no such currency, or it would end before it begins.
        NotFoundError: there is no such tenant.
    """
    currency = checked_currency(card.currency)
    async with database.write() as session:
        owner = await get_tenant(session, tenant)
        assert owner.id is not None
        # Two imports at once would take the same version; the tenant's row is the lock.
        query = select(Tenant).where(Tenant.id == owner.id)
        await session.exec(query.with_for_update(key_share=True))
        newest = await _newest(session, owner.id)
        if newest is not None and _says_the_same(newest, card):
            return newest, False
        row = await _add(session, owner.id, newest, currency, card, actor)
        await audit.record(
            session,
            tenant_id=owner.id,
            actor=actor,
            action="rate_card.imported",
            subject=f"rate_card:{owner.name}@{row.version}",
            before=None if newest is None else _facts(newest),
            after=_facts(row),
        )
    return row, True


def _says_the_same(newest: RateCard, card: NewCard) -> bool:
    has_times = card.valid_from is not None or card.valid_to is not None
    return newest.digest == card.digest and not has_times and newest.valid_to is None


async def _add(
    session: AsyncSession,
    tenant_id: int,
    newest: RateCard | None,
    currency: str,
    card: NewCard,
    actor: str,
) -> RateCard:
    begins = card.valid_from or await database_now(session)
    if card.valid_to is not None and card.valid_to <= begins:
        raise ConfigurationError(
            f"the card would end at {card.valid_to:%Y-%m-%d %H:%M}, before it begins.",
            mend="Give a --valid-to after --valid-from.",
        )
    row = RateCard(
        tenant_id=tenant_id,
        version=1 if newest is None else newest.version + 1,
        currency=currency,
        email_micros=card.email_micros,
        valid_from=begins,
        valid_to=card.valid_to,
        source=card.source[:SOURCE_LENGTH],
        digest=card.digest,
        entries=len(card.prices),
        created_by=actor,
    )
    session.add(row)
    await session.flush()
    entries = [
        {
            "card_id": row.id,
            "tenant_id": tenant_id,
            "kind": one.kind.value,
            "code": one.code,
            "micros": one.micros,
            "name": one.name,
        }
        for one in card.prices
    ]
    if entries:
        await (await session.connection()).execute(insert(RateCardEntry), entries)
    return row


def _facts(row: RateCard) -> dict[str, object]:
    return {
        "version": row.version,
        "currency": row.currency,
        "email_price": None if row.email_micros is None else price_text(row.email_micros),
        "valid_from": row.valid_from.isoformat(),
        "valid_to": None if row.valid_to is None else row.valid_to.isoformat(),
        "entries": row.entries,
        "digest": row.digest,
    }


async def _newest(session: AsyncSession, tenant_id: int) -> RateCard | None:
    query = (
        select(RateCard)
        .where(RateCard.tenant_id == tenant_id)
        .order_by(col(RateCard.version).desc())
        .limit(1)
    )
    return (await session.exec(query)).first()


async def list_cards(session: AsyncSession, tenant_id: int) -> Sequence[RateCard]:
    """All versions, the newest first."""
    query = select(RateCard).where(RateCard.tenant_id == tenant_id)
    return (await session.exec(query.order_by(col(RateCard.version).desc()))).all()


async def card_in_force(
    session: AsyncSession, tenant_id: int, at: datetime | None = None
) -> RateCard | None:
    """The newest version that holds at that time, or now; None without any."""
    at = at or await database_now(session)
    query = (
        select(RateCard)
        .where(
            RateCard.tenant_id == tenant_id,
            col(RateCard.valid_from) <= at,
            or_(col(RateCard.valid_to).is_(None), col(RateCard.valid_to) > at),
        )
        .order_by(col(RateCard.version).desc())
        .limit(1)
    )
    return (await session.exec(query)).first()


async def find_card(session: AsyncSession, tenant: Tenant, version: int | None) -> RateCard:
    """A version of the tenant's, or the one in force.

    Raises:
        NotFoundError: there is none.
    """
    assert tenant.id is not None
    if version is None:
        row = await card_in_force(session, tenant.id)
    else:
        query = select(RateCard).where(RateCard.tenant_id == tenant.id, RateCard.version == version)
        row = (await session.exec(query)).first()
    if row is None:
        what = "no rate card in force" if version is None else f"no rate card {version}"
        raise NotFoundError(
            f"tenant {tenant.name!r} has {what}.",
            mend=f"Run: ignition rates import FILE.csv --tenant {tenant.name} --currency EUR",
        )
    return row


async def read_prices(session: AsyncSession, card_id: int) -> list[Price]:
    """A card's lines, networks behind prefixes, each by code."""
    entry = RateCardEntry
    query = (
        select(entry.kind, entry.code, entry.micros, entry.name)
        .where(entry.card_id == card_id)
        .order_by(col(entry.kind).desc(), col(entry.code))
    )
    return [
        Price(kind=PriceKind(kind), code=code, micros=micros, name=name)
        for kind, code, micros, name in await session.exec(query)
    ]


async def open_card(session: AsyncSession, row: RateCard) -> Card:
    """The card with all its prices: some ten thousand at most, so a moment and a few megabytes."""
    assert row.id is not None
    return Card(
        id=row.id,
        version=row.version,
        currency=row.currency,
        prices=await read_prices(session, row.id),
        email_micros=row.email_micros,
    )


async def find_price(session: AsyncSession, card_id: int, number: str) -> int | None:
    """Millionths for a segment to one number by its prefix, without reading the whole card."""
    digits = number.removeprefix("+")
    query = (
        select(RateCardEntry.micros)
        .where(
            RateCardEntry.card_id == card_id,
            RateCardEntry.kind == PriceKind.PREFIX.value,
            col(RateCardEntry.code).in_(
                [digits[:length] for length in range(1, LONGEST_PREFIX + 1)]
            ),
        )
        .order_by(func.length(col(RateCardEntry.code)).desc())
        .limit(1)
    )
    return (await session.exec(query)).first()


async def pinned_card(session: AsyncSession, run: RunRef) -> RateCard | None:
    """The card that the run's messages cost by; None where none was in force at its beginning."""
    query = (
        select(RateCard)
        .join(RunRateCard, col(RunRateCard.card_id) == col(RateCard.id))
        .where(RunRateCard.run_id == run.id)
    )
    return (await session.exec(query)).first()


async def pin_card(database: Database, run: RunRef) -> RateCard | None:
    """Tie the run to the card in force now, unless it is tied to one; returns it.

    It is the card of the whole run, so that neither a newer one nor a correction changes what
    messages have cost.
    """
    async with database.read() as session:
        found = await pinned_card(session, run)
        if found is not None:
            return found
        count = select(func.count()).where(RateCard.tenant_id == run.tenant_id)
        if not (await session.exec(count)).one():
            return None
    # The run may be opened twice at once; the first one's card is the run's.
    with suppress(IntegrityError):
        async with database.write() as session:
            card = await card_in_force(session, run.tenant_id)
            if card is None:
                return None
            if await session.get(RunRateCard, run.id) is None:
                assert card.id is not None
                session.add(RunRateCard(run_id=run.id, tenant_id=run.tenant_id, card_id=card.id))
    async with database.read() as session:
        return await pinned_card(session, run)
