"""Which addresses belong to one person: those of one row of an audience."""

from __future__ import annotations

from collections.abc import Mapping

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.models import Audience, RecipientRow
from ignition_ext.values import Channel

_COLUMNS = {Channel.EMAIL: RecipientRow.email, Channel.SMS: RecipientRow.phone}


async def addresses_of(
    session: AsyncSession, *, tenant_id: int, channel: Channel, address: str
) -> Mapping[Channel, str]:
    """The person's addresses by channel: the given one, and the other one where it is certain.

    An address and a number belong together where a row of an audience in force holds both. Where
    the rows name several for the other channel, as with a family's telephone, none of them is
    taken: nobody decides for somebody else.

    Args:
        session: reading or writing.
        tenant_id: whose audiences.
        channel: the given address's.
        address: in the spelling of audiences.
    """
    other = Channel.SMS if channel is Channel.EMAIL else Channel.EMAIL
    query = (
        select(_COLUMNS[other])
        .join(Audience, col(Audience.id) == RecipientRow.audience_id)
        .where(
            RecipientRow.tenant_id == tenant_id,
            _COLUMNS[channel] == address,
            _COLUMNS[other] != "",
            RecipientRow.generation == Audience.generation,
            col(Audience.deleted_at).is_(None),
        )
        .distinct()
        .limit(2)
    )
    found = (await session.exec(query)).all()
    return {channel: address} | ({other: found[0]} if len(found) == 1 else {})
