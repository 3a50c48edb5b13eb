"""What recipients ask for by what their messages carried: a link, or a mail that quotes it.

The token is the proof: whoever has it got the message. Each wish is carried out in the caller's
transaction, audited and announced once, by whichever way it came.
"""

from __future__ import annotations

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.consent.suppressions import SuppressionReason, lift, suppress
from ignition_ext.links import Addressee
from ignition_ext.outcomes.origins import Origin, origins_of
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.values import Channel


async def opt_out(session: AsyncSession, about: Addressee, *, how: str, actor: str) -> bool:
    """Write to the address no more; returns whether that is new.

    Args:
        session: of ``Database.write()``.
        about: whom it is about, as a token of ours says it.
        how: for the suppression list: by which way it was asked.
        actor: the way, for the audit log and the event.
    """
    added = await suppress(
        session,
        tenant_id=about.tenant_id,
        channel=about.channel,
        addresses=[about.address],
        reason=SuppressionReason.OPT_OUT,
        detail=f"{how}, message {about.message_id}",
        actor=actor,
    )
    if added:
        origin = await origin_of(session, about)
        told = changed(about, origin, about.channel, about.address, wanted=False, actor=actor)
        await announce(session, [told])
    return added > 0


async def opt_in(session: AsyncSession, about: Addressee, *, how: str, actor: str) -> bool:
    """Take the person's own opt-out back, and nothing else; returns whether there was one.

    Args:
        session: of ``Database.write()``.
        about: whom it is about, as a token of ours says it.
        how: for the audit log: by which way it was asked.
        actor: the way, for the audit log and the event.
    """
    lifted = await lift(
        session,
        tenant_id=about.tenant_id,
        channel=about.channel,
        addresses=[about.address],
        actor=actor,
        detail=f"{how}, message {about.message_id}",
        only_reason=SuppressionReason.OPT_OUT,
    )
    if lifted:
        origin = await origin_of(session, about)
        told = changed(about, origin, about.channel, about.address, wanted=True, actor=actor)
        await announce(session, [told])
    return lifted > 0


async def origin_of(session: AsyncSession, about: Addressee) -> Origin:
    """Which campaign the message came from; empty where its rows are gone."""
    return (await origins_of(session, [about.message_id])).get(about.message_id, {})


def changed(
    about: Addressee, origin: Origin, channel: Channel, address: str, *, wanted: bool, actor: str
) -> Announcement:
    """The news that an address wants messages of a channel, or none."""
    return Announcement(
        tenant_id=about.tenant_id,
        name=EventName.RECIPIENT_OPTED_IN if wanted else EventName.RECIPIENT_OPTED_OUT,
        subject=f"message:{about.message_id}",
        payload={
            **origin,
            "message_id": str(about.message_id),
            "channel": channel.value,
            "by": actor,
        },
        private={"address": address},
    )
