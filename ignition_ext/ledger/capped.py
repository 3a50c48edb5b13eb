"""Removes what frequency caps counted and can count no more, once a day.

A claim removes what is over of the addresses that it asks for; this is for those that nobody
writes to any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.caps import read_caps
from ignition_ext.database import Database, database_now
from ignition_ext.models import CappedMessage, Message, TenantSetting
from ignition_ext.outcomes.tables import CURSORS, TENANTS
from ignition_ext.tenants import CAPS
from ignition_ext.values import Channel, MessageState

PASS_EVERY = timedelta(days=1)
"""Each row is looked at once a day: it is in nobody's way, and keeping it longer is of no use."""
SLICE = 5_000
"""Rows that are looked at in one transaction: some tens of milliseconds for SQLite's writer."""
DAYS_WITHOUT_CAP = 31
"""What a cap counted outlives it by a month: one that is set again finds what it counted."""
_NAME = "capped_messages"
_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
_HELD = (MessageState.CLAIMED.value, MessageState.SENDING.value)


def _table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


ROWS, MESSAGES, SETTINGS = _table(CappedMessage), _table(Message), _table(TenantSetting)
_KEY = tuple_(ROWS.c.address, ROWS.c.message_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What one cap counts on; nothing claimed before ``before`` counts by that claim."""

    tenant_id: int
    channel: Channel
    before: datetime

    def rows(self) -> ColumnElement[bool]:
        return and_(ROWS.c.tenant_id == self.tenant_id, ROWS.c.channel == self.channel.value)


async def prune_capped(database: Database) -> int:
    """Remove what no cap can count any more, if nobody did within a day; returns how many rows."""
    if not await _is_ours(database):
        return 0
    async with database.read() as session:
        scopes = await _scopes(session)
    return sum([await _prune(database, scope) for scope in scopes])


async def _prune(database: Database, scope: _Scope) -> int:
    removed, here, after = 0, scope.rows(), None
    while True:
        async with database.read() as session:
            query = select(ROWS.c.address, ROWS.c.message_id, ROWS.c.claimed_at).where(here)
            if after is not None:
                query = query.where(after < _KEY)
            query = query.order_by(ROWS.c.address, ROWS.c.message_id).limit(SLICE)
            found = (await (await session.connection()).execute(query)).all()
        old = [row.message_id for row in found if row.claimed_at < scope.before]
        if old:
            within = and_(here, ROWS.c.address >= found[0].address)
            within = and_(within, ROWS.c.address <= found[-1].address)
            async with database.write() as session:
                removed += await _remove(session, within, scope.before)
        if len(found) < SLICE:
            return removed
        after = found[-1].address, found[-1].message_id


async def _remove(session: AsyncSession, within: ColumnElement[bool], before: datetime) -> int:
    """Remove the rows that count no more, as the claim judges it."""
    last = func.coalesce(MESSAGES.c.intended_at, MESSAGES.c.sent_at, ROWS.c.claimed_at)
    counts = (
        exists()
        .where(MESSAGES.c.id == ROWS.c.message_id, MESSAGES.c.run_at == ROWS.c.run_at)
        .where(or_(MESSAGES.c.state.in_(_HELD), last >= before))
    )
    # Asked of the row as it is now: a claim meanwhile has made it a new one.
    statement = delete(ROWS).where(within, ROWS.c.claimed_at < before, ~counts)
    return (await (await session.connection()).execute(statement)).rowcount


async def _is_ours(database: Database) -> bool:
    """Whether a day is over since a process began; then it is this one."""
    async with database.read() as session:
        now = await database_now(session)
        query = select(CURSORS.c.moved_at).where(CURSORS.c.name == _NAME)
        begun = (await (await session.connection()).execute(query)).scalar_one_or_none()
    if begun is not None and begun > now - PASS_EVERY:
        return False
    async with database.write() as session:
        connection = await session.connection()
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        first = insert(CURSORS).values(name=_NAME, position={}, moved_at=_BEFORE_ALL)
        await connection.execute(first.on_conflict_do_nothing(index_elements=["name"]))
        taken = await connection.execute(
            update(CURSORS)
            .where(CURSORS.c.name == _NAME, CURSORS.c.moved_at <= now - PASS_EVERY)
            .values(moved_at=now)
        )
        return bool(taken.rowcount)


async def _scopes(session: AsyncSession) -> list[_Scope]:
    """All tenants' channels, each with the beginning of its longest window."""
    now, connection = await database_now(session), await session.connection()
    query = select(SETTINGS.c.tenant_id, SETTINGS.c.key, SETTINGS.c.value).where(
        SETTINGS.c.key.in_(list(CAPS))
    )
    windows = {
        (row.tenant_id, CAPS[row.key]): max(cap.days for cap in read_caps(row.key, row.value))
        for row in await connection.execute(query)
        if row.value is not None
    }
    tenants = (await connection.execute(select(TENANTS.c.id).order_by(TENANTS.c.id))).scalars()
    return [
        _Scope(
            tenant_id=tenant_id,
            channel=channel,
            before=now - timedelta(days=windows.get((tenant_id, channel), DAYS_WITHOUT_CAP)),
        )
        for tenant_id in tenants
        for channel in Channel
    ]
