"""Turns an audience into the messages of a run with two channels, a batch at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from ignition_ext.campaigns.legs import CampaignChannel
from ignition_ext.campaigns.routing import channels_for
from ignition_ext.consent.liked import address_on, liked_channels
from ignition_ext.database import Database
from ignition_ext.delivery.fallback import with_number
from ignition_ext.delivery.recipients import Hours, message_for
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.values import Channel, Recipient

Routes = Sequence[tuple[Channel, ...]]


@dataclass(slots=True)
class LegIntake:
    """Counts while the audience streams by.

    Attributes:
        taken: recipients who get a message, by whichever channel.
        skipped: those without an address, for each channel.
        messages: for each channel.
    """

    taken: int = 0
    skipped: dict[Channel, int] = field(default_factory=lambda: dict.fromkeys(Channel, 0))
    messages: dict[Channel, int] = field(default_factory=lambda: dict.fromkeys(Channel, 0))


async def routes_of(
    database: Database, campaign: CampaignChannel, tenant_id: int, batch: Sequence[Recipient]
) -> Routes:
    """The channels that each recipient of a batch is written to by; one look at preferences."""
    async with database.read() as session:
        liked = await liked_channels(session, tenant_id=tenant_id, recipients=batch)
    return [
        channels_for(campaign, has_addresses(recipient), like)
        for recipient, like in zip(batch, liked, strict=True)
    ]


def has_addresses(recipient: Recipient) -> frozenset[Channel]:
    """The channels that a recipient can be written to by."""
    return frozenset(one for one in Channel if address_on(recipient, one))


async def messages_of_legs(
    database: Database,
    campaign: CampaignChannel,
    tenant_id: int,
    batches: AsyncIterator[Sequence[Recipient]],
    intake: LegIntake,
    *,
    limit: int | None = None,
    hours: Hours | None = None,
) -> AsyncIterator[Mapping[Channel, Sequence[NewMessage]]]:
    """The messages for an audience, by channel; ends after ``limit`` recipients."""
    async for batch in batches:
        routes = await routes_of(database, campaign, tenant_id, batch)
        messages: dict[Channel, list[NewMessage]] = {channel: [] for channel in Channel}
        for recipient, route in zip(batch, routes, strict=True):
            if limit is not None and intake.taken >= limit:
                break
            intake.taken += bool(route)
            for channel in Channel:
                intake.skipped[channel] += address_on(recipient, channel) is None
            for channel in route:
                message = message_for(recipient, channel)
                assert message is not None, "a route goes where there is an address"
                if campaign is CampaignChannel.FALLBACK and channel is Channel.EMAIL:
                    message = with_number(message, address_on(recipient, Channel.SMS))
                messages[channel].append(message if hours is None else hours.held(message))
        for channel, some in messages.items():
            intake.messages[channel] += len(some)
        yield messages
        if limit is not None and intake.taken >= limit:
            return
