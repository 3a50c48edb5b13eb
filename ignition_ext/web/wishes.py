"""What recipients ask for, carried out: each in one transaction, audited and announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.consent import opting
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
from ignition_ext.outcomes.origins import Origin
from ignition_ext.outcomes.outbox import Announcement, announce
from ignition_ext.values import Channel
from ignition_ext.web.desk import ACTOR


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
        return await opting.opt_out(session, about, how=how, actor=ACTOR)


async def opt_in(database: Database, about: Addressee) -> bool:
    """Take the person's own opt-out back; returns whether there was one."""
    async with database.write() as session:
        return await opting.opt_in(session, about, how="asked for on the page", actor=ACTOR)


async def choose(database: Database, about: Addressee, choices: Choices) -> None:
    """Store what the person chose.

    Raises:
        ConfigurationError: a channel or topic that cannot be chosen.
        NotFoundError: the tenant is gone for good.
    """
    async with database.write() as session:
        before = await _chosen(session, about)
        origin = await opting.origin_of(session, about)
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
        opting.changed(about, origin, channel, before.addresses[channel], wanted=wish, actor=ACTOR)
        for channel, wish in wanted.items()
        if before.allowed.get(channel, wish) != wish and channel not in before.barred
    ]
