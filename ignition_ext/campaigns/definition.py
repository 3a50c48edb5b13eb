"""What a campaign file says, as values: the contract that operators' files rely on.

Reading YAML with line numbers is ``campaigns/file.py``'s; here is only what the words mean.
"""

from __future__ import annotations

from datetime import time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ignition_ext.campaigns.chain import MAX_PARENTS, Parent
from ignition_ext.campaigns.duration import Duration, parse_duration
from ignition_ext.campaigns.hours import LocalTimeSpec, QuietSpan
from ignition_ext.campaigns.legs import TWO_CHANNELS, CampaignChannel, FallbackSpec, SmsSpec
from ignition_ext.campaigns.schedule import ScheduleSpec
from ignition_ext.campaigns.sender import check_email_sender, check_headers, check_sms_sender
from ignition_ext.campaigns.spending import BudgetSpec
from ignition_ext.campaigns.steps import DEFAULT_WAIT, MAX_STEPS, Step, StopSpec, check_ramp
from ignition_ext.campaigns.words import SLUG, Name, Part, ThrottleSpec
from ignition_ext.values import Channel, Guarantee

MAX_ATTACHMENTS = 20
MAX_SCHEDULES = 50
"""Prefect's scheduler walks through every schedule of every deployment once a minute."""

MAX_LIMITS = 5
"""A run takes a slot of each or of none: the more there are, the longer it waits for them all."""
MAX_TAGS = 20
"""As many as the UI's list of runs can show beside a name."""

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$")]
"""Without a colon: those with one (``tenant:acme``) are Ignition's own."""


Limit = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,62}$")]
"""The name of a global concurrency limit of Prefect's."""


class Priority(StrEnum):
    """Which of a work pool's queues runs wait in; workers take from the first that has any."""

    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"


class Overlap(StrEnum):
    """What becomes of a run that would begin while another of its campaign is under way."""

    QUEUE = "queue"
    SKIP = "skip"
    CANCEL_RUNNING = "cancel_running"


class AudienceSpec(Part):
    """Exactly one source: a stored audience, a CSV file, or a query on a block's database."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    csv: str | None = Field(default=None, min_length=1, max_length=500)
    sql: str | None = Field(default=None, min_length=1, max_length=20_000)
    block: str | None = Field(default=None, min_length=1, max_length=200)
    where: str | None = Field(default=None, min_length=1, max_length=5_000)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [source for source in ("name", "csv", "sql") if getattr(self, source) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of name, csv and sql")
        if (self.sql is None) != (self.block is None):
            raise ValueError("sql needs block, the database to ask, and only sql takes one")
        return self


class DeliverySpec(Part):
    """How a run is carried out."""

    guarantee: Guarantee = Guarantee.AT_MOST_ONCE
    senders: StrictInt = Field(default=1, ge=1, le=64)
    batch: StrictInt = Field(default=10_000, ge=1, le=100_000)
    deadline: Duration | None = None
    patience: Duration | None = None
    quiet_hours: QuietSpan | None = None
    ignore_caps: bool = False
    local_time: LocalTimeSpec = None
    ramp: list[Step] = Field(default_factory=list, max_length=MAX_STEPS)
    ramp_wait: Duration | None = None
    stop_if: StopSpec | None = None

    @field_validator("ramp")
    @classmethod
    def _ramp_fits(cls, value: list[Step]) -> list[Step]:
        check_ramp(value)
        return value

    @model_validator(mode="after")
    def _steps_fit_in_time(self) -> Self:
        if self.ramp_wait is not None and not self.ramp:
            raise ValueError("ramp_wait is the time between the steps of ramp, which is missing")
        if self.deadline is not None and self.steps_take >= self.deadline:
            raise ValueError(
                f"the waits between {len(self.ramp)} steps take {self.steps_take}, and everything"
                f" not sent by the deadline of {self.deadline} expires"
            )
        return self

    @property
    def steps_take(self) -> timedelta:
        """How long the run waits between its steps in all, at least."""
        return (self.ramp_wait or DEFAULT_WAIT) * max(len(self.ramp) - 1, 0)

    @model_validator(mode="after")
    def _local_time_is_not_quiet(self) -> Self:
        at, quiet = self.local_time, self.quiet_hours
        if isinstance(at, time) and quiet is not None and quiet.covers(at):
            raise ValueError(f"local_time {at:%H:%M} lies in quiet_hours {quiet}")
        return self


class RetryStrategy(StrEnum):
    """How the wait grows from attempt to attempt."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    EXPONENTIAL_JITTER = "exponential_jitter"


class RetrySpec(Part):
    """When a refused message is tried again."""

    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL_JITTER
    attempts: StrictInt = Field(default=5, ge=1, le=100)
    base: Duration = timedelta(seconds=30)
    max: Duration = timedelta(hours=1)

    @model_validator(mode="after")
    def _base_within_max(self) -> Self:
        if self.base > self.max:
            raise ValueError("base, the first wait, is longer than max")
        return self


class OwnerSpec(Part):
    """Who answers for a campaign."""

    name: str = Field(min_length=1, max_length=200)
    email: str | None = Field(default=None, max_length=320)

    @field_validator("email")
    @classmethod
    def _a_mailbox(cls, value: str | None) -> str | None:
        return None if value is None else check_email_sender(value)


def is_none(value: object) -> bool:
    """Whether a file does not say it: what was stored before it could be said stays the same."""
    return value is None


class CampaignDefinition(Part):
    """A whole campaign file."""

    name: Name
    tenant: Name
    channel: CampaignChannel
    audience: AudienceSpec
    template: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}(@[1-9]\d{0,8})?$")
    block: Name
    from_: str = Field(alias="from", min_length=1, max_length=500)
    headers: dict[str, str] = Field(default_factory=dict, max_length=50)
    unsubscribe: bool | None = Field(default=None, strict=True)
    attachments: list[str] = Field(default_factory=list, max_length=MAX_ATTACHMENTS)
    schedules: list[ScheduleSpec] = Field(default_factory=list, max_length=MAX_SCHEDULES)
    topic: Name | None = None
    tags: list[Tag] = Field(default_factory=list, max_length=MAX_TAGS)
    priority: Priority = Priority.DEFAULT
    on_overlap: Overlap = Overlap.QUEUE
    concurrency: list[Limit] = Field(default_factory=list, max_length=MAX_LIMITS)
    time_limit: Duration | None = None
    after: list[Parent] = Field(default_factory=list, max_length=MAX_PARENTS)
    delivery: DeliverySpec = DeliverySpec()
    throttle: ThrottleSpec = ThrottleSpec()
    sms: SmsSpec | None = Field(default=None, exclude_if=is_none)
    fallback: FallbackSpec | None = Field(default=None, exclude_if=is_none)
    budget: BudgetSpec | None = None
    retry: RetrySpec = RetrySpec()
    owner: OwnerSpec | None = None
    environments: list[Name] = Field(default_factory=list, max_length=50)

    @field_validator("from_")
    @classmethod
    def _sender_fits_channel(cls, value: str, info: ValidationInfo) -> str:
        match info.data.get("channel"):
            case CampaignChannel.SMS:
                return check_sms_sender(value)
            case CampaignChannel():
                return check_email_sender(value)
            case _:
                return value  # the channel's own error is told instead

    @field_validator("headers")
    @classmethod
    def _headers_fit(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        check_headers(value)
        if value and info.data.get("channel") is CampaignChannel.SMS:
            raise ValueError("an SMS has no headers")
        return value

    @field_validator("unsubscribe")
    @classmethod
    def _unsubscribe_fits(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value and info.data.get("channel") is CampaignChannel.SMS:
            raise ValueError("is a header of emails; an SMS may show {{ unsubscribe_url }}")
        return value

    @field_validator("attachments")
    @classmethod
    def _attachments_fit(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if value and info.data.get("channel") is CampaignChannel.SMS:
            raise ValueError("an SMS has no attachments")
        if len(set(value)) != len(value):
            raise ValueError("a file stands twice")
        return value

    @field_validator("throttle")
    @classmethod
    def _throttle_fits(cls, value: ThrottleSpec, info: ValidationInfo) -> ThrottleSpec:
        if value.per_domain is not None and info.data.get("channel") is CampaignChannel.SMS:
            raise ValueError("per_domain is for email: a number has no domain")
        return value

    @field_validator("schedules")
    @classmethod
    def _schedules_differ(cls, value: list[ScheduleSpec]) -> list[ScheduleSpec]:
        if any(schedule in value[:index] for index, schedule in enumerate(value)):
            raise ValueError("a schedule stands twice; it would run the campaign twice")
        return value

    @field_validator("after")
    @classmethod
    def _parents_fit(cls, value: list[Parent], info: ValidationInfo) -> list[Parent]:
        names = [parent.campaign for parent in value]
        if len(set(names)) != len(names):
            raise ValueError("a campaign stands twice")
        tenant = info.data.get("tenant")
        for name in names:
            if tenant is not None and name.partition("/")[0] != tenant:
                raise ValueError(f"{name} is another tenant's; a chain stays within one")
        if f"{tenant}/{info.data.get('name')}" in names:
            raise ValueError("a campaign cannot come after itself")
        return value

    @model_validator(mode="after")
    def _steps_fit_in_time_limit(self) -> Self:
        if self.time_limit is not None and self.delivery.steps_take >= self.time_limit:
            raise ValueError(
                f"time_limit {self.time_limit} is over before the last step of delivery.ramp,"
                f" whose waits take {self.delivery.steps_take}"
            )
        return self

    @model_validator(mode="after")
    def _sections_fit_channel(self) -> Self:
        if self.channel in TWO_CHANNELS and self.sms is None:
            raise ValueError(
                f"channel {self.channel} needs an sms section: `sms: {{block: …, from: …}}`"
            )
        if self.channel not in TWO_CHANNELS and self.sms is not None:
            raise ValueError("the sms section is for channel both and fallback")
        if self.fallback is None:
            return self
        if self.channel is not CampaignChannel.FALLBACK:
            raise ValueError("the fallback section is for channel fallback")
        after, deadline = self.fallback.after, self.delivery.deadline
        if after is not None and deadline is not None and after >= deadline:
            raise ValueError(
                f"fallback.after {after} has to be before delivery.deadline {deadline}, or the"
                " text messages would expire as they begin"
            )
        if after is not None and self.delivery.steps_take >= after:
            raise ValueError(
                f"fallback.after {after} is over before the last step of delivery.ramp, whose"
                f" waits take {self.delivery.steps_take}"
            )
        return self

    @property
    def message_channel(self) -> Channel:
        """The channel of this campaign's messages; with two, that of the leg that leads."""
        return self.legs[0]

    @property
    def legs(self) -> tuple[Channel, ...]:
        """The channels that this campaign's messages go by; the one that leads comes first."""
        match self.channel:
            case CampaignChannel.EMAIL:
                return (Channel.EMAIL,)
            case CampaignChannel.SMS:
                return (Channel.SMS,)
            case CampaignChannel.BOTH | CampaignChannel.FALLBACK:
                return (Channel.EMAIL, Channel.SMS)

    def leg(self, channel: Channel) -> CampaignDefinition:
        """This campaign as if it had that channel alone; itself where it has only that one.

        What begins and bounds a whole run stays with the leg that leads: schedules and what it
        comes after.

        Raises:
            ValueError: no message of this campaign goes by that channel.
        """
        if channel not in self.legs:
            raise ValueError(f"{self.reference} sends nothing by {channel}")
        if self.sms is None:
            return self
        changed: dict[str, Any] = {"sms": None, "fallback": None}
        match channel:
            case Channel.EMAIL:
                changed |= {"channel": CampaignChannel.EMAIL}
                if self.fallback is not None and self.fallback.after is not None:
                    bounded = {"deadline": self.fallback.after}
                    changed |= {"delivery": self.delivery.model_copy(update=bounded)}
            case Channel.SMS:
                changed |= {
                    "channel": CampaignChannel.SMS,
                    "block": self.sms.block,
                    "from_": self.sms.from_,
                    "throttle": self.sms.throttle,
                    "headers": {},
                    "unsubscribe": None,
                    "attachments": [],
                    "schedules": [],
                    "after": [],
                }
                if self.sms.guarantee is not None:
                    guarded = {"guarantee": self.sms.guarantee}
                    changed |= {"delivery": self.delivery.model_copy(update=guarded)}
        return self.model_copy(update=changed)

    @property
    def all_tags(self) -> tuple[str, ...]:
        """The file's tags behind Ignition's own, as the deployment and its runs bear them."""
        own = (f"tenant:{self.tenant}", f"channel:{self.channel}", f"campaign:{self.name}")
        return (*own, *self.tags)

    @property
    def reference(self) -> str:
        """``tenant/name``, as commands write it."""
        return f"{self.tenant}/{self.name}"


__all__ = [
    "SLUG",
    "AudienceSpec",
    "CampaignChannel",
    "CampaignDefinition",
    "DeliverySpec",
    "Duration",
    "Overlap",
    "OwnerSpec",
    "Priority",
    "RetrySpec",
    "RetryStrategy",
    "ScheduleSpec",
    "ThrottleSpec",
    "parse_duration",
]
