"""Addresses of which only a keyed hash is left, so that who opted out stays so when forgotten.

The key stands in the database, one for each tenant: whoever has the whole database can try out
addresses, but a key that were lost would let people be written to who said no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex

from sqlalchemy import Table, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.ledger.wishes import digest
from ignition_ext.models import ForgottenAddress, ForgottenKey
from ignition_ext.models.types import utc_now
from ignition_ext.values import Channel

KEYS: Table = SQLModel.metadata.tables[str(ForgottenKey.__tablename__)]
ADDRESSES: Table = SQLModel.metadata.tables[str(ForgottenAddress.__tablename__)]
KEY_BYTES = 32


async def key_of(session: AsyncSession, tenant_id: int) -> str | None:
    """The tenant's key; None where nobody was forgotten yet."""
    query = select(ForgottenKey.key).where(ForgottenKey.tenant_id == tenant_id)
    return (await session.exec(query)).one_or_none()


async def make_key(session: AsyncSession, tenant_id: int) -> str:
    """The tenant's key, made if need be; two at once make one."""
    insert = postgresql.insert if _is_postgres(session) else sqlite.insert
    await (await session.connection()).execute(
        insert(KEYS)
        .values(tenant_id=tenant_id, key=token_hex(KEY_BYTES), created_at=utc_now())
        .on_conflict_do_nothing(index_elements=["tenant_id"])
    )
    key = await key_of(session, tenant_id)
    assert key is not None
    return key


async def keep_out(
    session: AsyncSession, tenant_id: int, channel: Channel, address: str, *, reason: str
) -> None:
    """Let an address stay suppressed by its hash; the tenant's key must be there."""
    key = await key_of(session, tenant_id)
    assert key is not None
    insert = postgresql.insert if _is_postgres(session) else sqlite.insert
    await (await session.connection()).execute(
        insert(ADDRESSES)
        .values(
            tenant_id=tenant_id,
            channel=channel.value,
            digest=digest(key, address),
            reason=reason,
            created_at=utc_now(),
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "channel", "digest"])
    )


async def forgotten(
    session: AsyncSession, tenant_id: int, channel: Channel, addresses: Sequence[str]
) -> Mapping[str, str]:
    """Which of some addresses are kept out by their hash, and the reason of each."""
    key = await key_of(session, tenant_id)
    if key is None:
        return {}
    digests = {digest(key, address): address for address in addresses}
    query = select(ForgottenAddress.digest, ForgottenAddress.reason).where(
        ForgottenAddress.tenant_id == tenant_id,
        ForgottenAddress.channel == channel.value,
        col(ForgottenAddress.digest).in_(digests),
    )
    return {digests[found]: reason for found, reason in await session.exec(query)}


async def let_in(
    session: AsyncSession,
    tenant_id: int,
    channel: Channel,
    addresses: Sequence[str],
    only_reason: str | None,
) -> set[str]:
    """Drop the hashes of some addresses; returns those that had one."""
    known = await forgotten(session, tenant_id, channel, addresses)
    chosen = {one for one, reason in known.items() if only_reason in (None, reason)}
    key = await key_of(session, tenant_id)
    if chosen and key is not None:
        await (await session.connection()).execute(
            delete(ADDRESSES).where(
                ADDRESSES.c.tenant_id == tenant_id,
                ADDRESSES.c.channel == channel.value,
                ADDRESSES.c.digest.in_([digest(key, address) for address in chosen]),
            )
        )
    return chosen


def _is_postgres(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "postgresql"
