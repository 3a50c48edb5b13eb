"""What a campaign file says of its second channel: text messages beside, or after, its emails.

A campaign with two channels has two *legs*. The email leg leads: it has the schedules, the chain
and the name. Its companion, the SMS leg, sends from another block, under another sender and rate.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import Field, field_validator

from ignition_ext.campaigns.duration import Duration
from ignition_ext.campaigns.sender import check_sms_sender
from ignition_ext.campaigns.words import Name, Part, ThrottleSpec
from ignition_ext.values import FallbackCause, Guarantee

LONGEST_WITHIN = timedelta(days=30)
"""Bounces come within days: after a month a text message would answer a forgotten email."""


class CampaignChannel(StrEnum):
    """Where a campaign goes."""

    EMAIL = "email"
    SMS = "sms"
    BOTH = "both"
    FALLBACK = "fallback"


TWO_CHANNELS = frozenset({CampaignChannel.BOTH, CampaignChannel.FALLBACK})


class SmsSpec(Part):
    """How a campaign with two channels sends its text messages."""

    block: Name
    from_: str = Field(alias="from", min_length=1, max_length=500)
    throttle: ThrottleSpec = ThrottleSpec()
    guarantee: Guarantee | None = None

    @field_validator("from_")
    @classmethod
    def _a_sender(cls, value: str) -> str:
        return check_sms_sender(value)

    @field_validator("throttle")
    @classmethod
    def _without_domains(cls, value: ThrottleSpec) -> ThrottleSpec:
        if value.per_domain is not None:
            raise ValueError("per_domain is for email: a number has no domain")
        return value


class FallbackSpec(Part):
    """When a text message goes out because an email did not get through.

    Attributes:
        after: emails that no server has accepted so long after the run's begin expire, and fall
            back; None: they have as long as their retries and the run's deadline give them.
        within: bounces count so long after the email leg has ended.
        on: which ends of an email fall back.
    """

    after: Duration | None = None
    within: Duration = timedelta(days=3)
    on: list[FallbackCause] = Field(
        default=[FallbackCause.FAILED, FallbackCause.BOUNCED, FallbackCause.EXPIRED], min_length=1
    )

    @field_validator("within")
    @classmethod
    def _not_for_ever(cls, value: timedelta) -> timedelta:
        if value > LONGEST_WITHIN:
            raise ValueError(f"a bounce counts for at most {LONGEST_WITHIN.days} days")
        return value

    @field_validator("on")
    @classmethod
    def _each_once(cls, value: list[FallbackCause]) -> list[FallbackCause]:
        if len(set(value)) != len(value):
            raise ValueError("an end stands twice")
        return value
