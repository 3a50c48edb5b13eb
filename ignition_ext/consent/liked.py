"""Which channel the people of an audience like best; asked for many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.consent.suppressions import chunks, suppressed_among
from ignition_ext.models import Preference
from ignition_ext.values import Channel, Recipient

_Choice = tuple[datetime, Channel]


async def liked_channels(
    session: AsyncSession, *, tenant_id: int, recipients: Sequence[Recipient]
) -> Sequence[Channel | None]:
    """For each recipient the channel liked best; None without a choice, or where it is no use.

    It is of use where there is an address for it that is not suppressed. Somebody with two
    addresses who chose differently at each is taken at the later word.

    Args:
        session: reading.
        tenant_id: whose recipients.
        recipients: a batch of an audience.
    """
    chosen: dict[Channel, Mapping[str, _Choice]] = {}
    for channel in Channel:
        addresses = [address for one in recipients if (address := address_on(one, channel))]
        chosen[channel] = await _choices(session, tenant_id, channel, addresses)
    liked = [_latest(one, chosen) for one in recipients]
    barred = {
        channel: await suppressed_among(
            session,
            tenant_id,
            channel,
            [
                address
                for one, like in zip(recipients, liked, strict=True)
                if like is channel and (address := address_on(one, channel))
            ],
        )
        for channel in Channel
    }
    return [
        like
        if like is not None
        and (address := address_on(one, like)) is not None
        and address not in barred[like]
        else None
        for one, like in zip(recipients, liked, strict=True)
    ]


def address_on(recipient: Recipient, channel: Channel) -> str | None:
    """The recipient's address for a channel; None without one."""
    match channel:
        case Channel.EMAIL:
            return recipient.email or None
        case Channel.SMS:
            return recipient.phone or None


def _latest(
    recipient: Recipient, chosen: Mapping[Channel, Mapping[str, _Choice]]
) -> Channel | None:
    found = [
        choice
        for channel, choices in chosen.items()
        if (choice := choices.get(address_on(recipient, channel) or "")) is not None
    ]
    return max(found)[1] if found else None


async def _choices(
    session: AsyncSession, tenant_id: int, channel: Channel, addresses: Sequence[str]
) -> Mapping[str, _Choice]:
    found: dict[str, _Choice] = {}
    for some in chunks(addresses):
        query = select(Preference.address, Preference.updated_at, Preference.preferred).where(
            Preference.tenant_id == tenant_id,
            Preference.channel == channel.value,
            col(Preference.address).in_(some),
            col(Preference.preferred).is_not(None),
        )
        for address, at, preferred in await session.exec(query):
            if preferred is not None:
                found[address] = (at, Channel(preferred))
    return found
