"""Campaigns with two channels: what a file may say, and who is written to by which."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.legs import CampaignChannel
from ignition_ext.campaigns.routing import channels_for
from ignition_ext.values import Channel, FallbackCause, Guarantee

SAID: dict[str, Any] = {
    "name": "news",
    "tenant": "acme",
    "channel": "both",
    "audience": {"name": "customers"},
    "template": "news",
    "block": "acme-mail",
    "from": "Acme <news@acme.example>",
    "headers": {"Reply-To": "help@acme.example"},
    "attachments": ["terms.pdf"],
    "schedules": [{"cron": "0 8 * * *"}],
    "after": ["acme/first"],
    "throttle": {"per_second": 200, "per_domain": 20},
    "sms": {"block": "acme-sms", "from": "ACME", "throttle": {"per_second": 50}},
}
FALLBACK = {"channel": "fallback", "fallback": {"after": "4h", "within": "1d"}}
CAMPAIGNS = st.sampled_from(CampaignChannel)
ADDRESSES = st.frozensets(st.sampled_from(Channel))
LIKED = st.none() | st.sampled_from(Channel)


def define(**changes: Any) -> CampaignDefinition:
    return CampaignDefinition.model_validate(SAID | changes)


def test_each_leg_is_a_campaign_with_one_channel() -> None:
    """What begins a run stays with the emails, what an SMS has not is left out."""
    both = define()
    assert both.legs == (Channel.EMAIL, Channel.SMS)
    assert both.message_channel is Channel.EMAIL
    email, sms = both.leg(Channel.EMAIL), both.leg(Channel.SMS)

    assert (email.channel, sms.channel) == (CampaignChannel.EMAIL, CampaignChannel.SMS)
    assert (email.legs, sms.legs) == ((Channel.EMAIL,), (Channel.SMS,))
    assert (email.block, email.from_) == ("acme-mail", "Acme <news@acme.example>")
    assert (sms.block, sms.from_) == ("acme-sms", "ACME")
    assert (email.throttle.per_second, sms.throttle.per_second) == (200, 50)
    assert (sms.headers, sms.attachments, sms.schedules, sms.after) == ({}, [], [], [])
    assert len(email.schedules) == len(email.after) == 1
    for leg in (email, sms):
        said = leg.model_dump(mode="json", by_alias=True)
        assert CampaignDefinition.model_validate(said) == leg


def test_a_campaign_with_one_channel_is_its_own_leg() -> None:
    """And has no other."""
    only = define(channel="email", sms=None)

    assert only.leg(Channel.EMAIL) is only
    with pytest.raises(ValueError, match="sends nothing by sms"):
        only.leg(Channel.SMS)


def test_emails_that_fall_back_expire_when_the_text_messages_go() -> None:
    """So that never both go out; the text messages have the campaign's own deadline."""
    campaign = define(**FALLBACK, delivery={"deadline": "6h"})

    assert campaign.leg(Channel.EMAIL).delivery.deadline == timedelta(hours=4)
    assert campaign.leg(Channel.SMS).delivery.deadline == timedelta(hours=6)
    assert campaign.fallback is not None
    assert campaign.fallback.on == [
        FallbackCause.FAILED,
        FallbackCause.BOUNCED,
        FallbackCause.EXPIRED,
    ]


def test_the_text_messages_may_have_a_guarantee_of_their_own() -> None:
    """A second email is a nuisance, a second code perhaps none."""
    sms = {**SAID["sms"], "guarantee": "at-least-once"}
    campaign = define(sms=sms)

    assert campaign.leg(Channel.EMAIL).delivery.guarantee is Guarantee.AT_MOST_ONCE
    assert campaign.leg(Channel.SMS).delivery.guarantee is Guarantee.AT_LEAST_ONCE


def test_a_campaign_of_an_earlier_release_is_stored_as_before() -> None:
    """Its digest stays, and applying it again makes no new version."""
    said = define(channel="email", sms=None).model_dump(mode="json", by_alias=True)

    assert not {"sms", "fallback"} & set(said)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sms": None}, "needs an sms section"),
        ({"channel": "email"}, "sms section is for channel both"),
        ({"fallback": {}}, "fallback section is for channel fallback"),
        ({"sms": {"block": "acme-sms"}}, "Field required"),
        ({"sms": {**SAID["sms"], "from": "much too long a name"}}, "sms.from"),
        ({"sms": {**SAID["sms"], "throttle": {"per_domain": 1}}}, "a number has no domain"),
        ({**FALLBACK, "delivery": {"deadline": "4h"}}, "has to be before delivery.deadline"),
        (
            {**FALLBACK, "delivery": {"ramp": ["10%", "100%"], "ramp_wait": "5h"}},
            "before the last step",
        ),
        ({**FALLBACK, "fallback": {"on": []}}, "fallback.on"),
        ({**FALLBACK, "fallback": {"on": ["failed", "failed"]}}, "stands twice"),
        ({**FALLBACK, "fallback": {"on": ["complained"]}}, "fallback.on"),
        ({**FALLBACK, "fallback": {"within": "31d"}}, "at most 30 days"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    """With the reason."""
    with pytest.raises(ValidationError, match=words):
        define(**changes)


@given(CAMPAIGNS, ADDRESSES, LIKED)
def test_nobody_is_written_to_where_there_is_no_address(
    campaign: CampaignChannel, has: Collection[Channel], liked: Channel | None
) -> None:
    """And by no channel that the campaign does not have."""
    route = channels_for(campaign, has, liked)

    assert set(route) <= set(has)
    assert len(set(route)) == len(route)
    if campaign.value in set(Channel):
        assert set(route) <= {campaign.value}


@given(ADDRESSES, LIKED)
def test_both_reach_everybody_by_all_there_is_or_by_the_one_liked_best(
    has: Collection[Channel], liked: Channel | None
) -> None:
    """A liking for a channel without an address is none."""
    route = channels_for(CampaignChannel.BOTH, has, liked)

    assert set(route) == ({liked} if liked in has else set(has))


@given(ADDRESSES, LIKED)
def test_a_fallback_begins_with_one_channel(
    has: Collection[Channel], liked: Channel | None
) -> None:
    """The email, but for those who like texts best or have no email address."""
    route = channels_for(CampaignChannel.FALLBACK, has, liked)

    assert len(route) == (1 if has else 0)
    if Channel.EMAIL in has and not (liked is Channel.SMS and Channel.SMS in has):
        assert route == (Channel.EMAIL,)
