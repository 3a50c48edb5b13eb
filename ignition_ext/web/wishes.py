"""What recipients ask for, carried out: each in one transaction, audited and announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.consent import SuppressionReason, lift, suppress
from ignition_ext.consent.preferences import (
    Choices,
    Preferences,
    read_preferences,
    set_preferences,
)
from ignition_ext.database import Database
from ignition_ext.errors import NotFoundError
from ignition_ext.links import Addressee
from ignition_ext.models import Tenant
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.values import Channel
from ignition_ext.web.desk import ACTOR
from ignition_ext.web.origins import Origin, origins_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things are with the person that a link is about."""

    title: str
    locale: str
    preferences: Preferences


async def look_up(database: Database, about: Addressee) -> Standing:
    """The tenant, and what the person chose.

    Raises:
        NotFoundError: the tenant is gone for good.
    """
    async with database.read() as session:
        tenant = await session.get(Tenant, about.tenant_id)
        if tenant is None:
            raise NotFoundError("the sender of this message is not here any more.")
        return Standing(
            title=tenant.title or tenant.name,
            locale=tenant.locale,
            preferences=await _chosen(session, about),
        )


async def opt_out(database: Database, about: Addressee, *, how: str) -> bool:
    """Write to the address no more; returns whether that is new.

    Args:
        how: for the suppression list: by which way it was asked.
    """
    async with database.write() as session:
        added = await suppress(
            session,
            tenant_id=about.tenant_id,
            channel=about.channel,
            addresses=[about.address],
            reason=SuppressionReason.OPT_OUT,
            detail=f"{how}, message {about.message_id}",
            actor=ACTOR,
        )
        if added:
            origin = await _origin(session, about)
            told = _told(about, origin, about.channel, about.address, wanted=False)
            await announce(session, [told])
    return added > 0


async def opt_in(database: Database, about: Addressee) -> bool:
    """Take the person's own opt-out back; returns whether there was one."""
    async with database.write() as session:
        lifted = await lift(
            session,
            tenant_id=about.tenant_id,
            channel=about.channel,
            addresses=[about.address],
            actor=ACTOR,
            detail=f"asked for on the page, message {about.message_id}",
            only_reason=SuppressionReason.OPT_OUT,
        )
        if lifted:
            origin = await _origin(session, about)
            told = _told(about, origin, about.channel, about.address, wanted=True)
            await announce(session, [told])
    return lifted > 0


async def choose(database: Database, about: Addressee, choices: Choices) -> None:
    """Store what the person chose.

    Raises:
        ConfigurationError: a channel or topic that cannot be chosen.
        NotFoundError: the tenant is gone for good.
    """
    async with database.write() as session:
        before = await _chosen(session, about)
        origin = await _origin(session, about)
        await announce(session, _changes(about, origin, before, choices.allowed))
        await set_preferences(
            session,
            tenant_id=about.tenant_id,
            channel=about.channel,
            address=about.address,
            choices=choices,
            actor=ACTOR,
        )


async def _chosen(session: AsyncSession, about: Addressee) -> Preferences:
    return await read_preferences(
        session, tenant_id=about.tenant_id, channel=about.channel, address=about.address
    )


def _changes(
    about: Addressee, origin: Origin, before: Preferences, wanted: Mapping[Channel, bool]
) -> Sequence[Announcement]:
    return [
        _told(about, origin, channel, before.addresses[channel], wanted=wish)
        for channel, wish in wanted.items()
        if before.allowed.get(channel, wish) != wish and channel not in before.barred
    ]


async def _origin(session: AsyncSession, about: Addressee) -> Origin:
    return (await origins_of(session, [about.message_id])).get(about.message_id, {})


def _told(
    about: Addressee, origin: Origin, channel: Channel, address: str, *, wanted: bool
) -> Announcement:
    return Announcement(
        tenant_id=about.tenant_id,
        name=EventName.RECIPIENT_OPTED_IN if wanted else EventName.RECIPIENT_OPTED_OUT,
        subject=f"message:{about.message_id}",
        payload={
            **origin,
            "message_id": str(about.message_id),
            "channel": channel.value,
            "by": ACTOR,
        },
        private={"address": address},
    )
