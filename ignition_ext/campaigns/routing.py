"""Which of a campaign's channels a recipient is written to by."""

from __future__ import annotations

from collections.abc import Collection
from typing import assert_never

from ignition_ext.campaigns.legs import CampaignChannel
from ignition_ext.values import Channel


def channels_for(
    campaign: CampaignChannel, has: Collection[Channel], liked: Channel | None
) -> tuple[Channel, ...]:
    """The channels that a recipient's messages go by as a run begins; empty for none.

    ======== ======================== ============================================
    channel  likes one best            else
    ======== ======================== ============================================
    both     that one alone            each that there is an address for
    fallback SMS: the text at once,    the email, or the text where there is no
             and no email              email address
    ======== ======================== ============================================

    Args:
        campaign: what the campaign file says.
        has: the channels that the recipient has an address for.
        liked: the one liked best, if it can be used: with an address, and not suppressed.
    """
    match campaign:
        case CampaignChannel.EMAIL:
            wanted: tuple[Channel, ...] = (Channel.EMAIL,)
        case CampaignChannel.SMS:
            wanted = (Channel.SMS,)
        case CampaignChannel.BOTH:
            wanted = (Channel.EMAIL, Channel.SMS)
            if liked is not None and liked in has:
                wanted = (liked,)
        case CampaignChannel.FALLBACK:
            wanted = (Channel.EMAIL,)
            if Channel.SMS in has and (liked is Channel.SMS or Channel.EMAIL not in has):
                wanted = (Channel.SMS,)
        case _:
            assert_never(campaign)
    return tuple(channel for channel in wanted if channel in has)
