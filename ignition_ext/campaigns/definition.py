"""What a campaign file says, as values: the contract that operators' files rely on.

Reading YAML with line numbers is ``campaigns/file.py``'s; here is only what the words mean.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parseaddr
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ignition_ext.values import Channel, Guarantee

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*$")
_UNITS = {
    "ms": "milliseconds",
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}


def parse_duration(value: Any) -> Any:
    """``30s``, ``10m``, ``6h``, ``2d`` as a timedelta; other types are left to Pydantic."""
    if not isinstance(value, str):
        return value
    match = _DURATION.match(value)
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and ms, s, m, h, d or w")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class CampaignChannel(StrEnum):
    """Where a campaign goes."""

    EMAIL = "email"
    SMS = "sms"
    BOTH = "both"
    FALLBACK = "fallback"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AudienceSpec(_Part):
    """Exactly one source: a stored audience, a CSV file, or a query on a block's database."""

    name: str | None = None
    csv: str | None = None
    sql: str | None = None
    block: str | None = None
    where: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [source for source in ("name", "csv", "sql") if getattr(self, source)]
        if len(given) != 1:
            raise ValueError("give exactly one of name, csv and sql")
        if (self.sql is None) != (self.block is None):
            raise ValueError("sql needs block, the database to ask, and only sql takes one")
        return self


class ScheduleSpec(_Part):
    """One schedule. Only ``cron`` and ``interval`` are turned into Prefect's so far."""

    cron: str | None = None
    interval: Duration | None = None
    rrule: str | None = None
    timezone: str | None = None
    active: bool = True

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in ("cron", "interval", "rrule") if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError("give exactly one of cron, interval and rrule")
        return self


class DeliverySpec(_Part):
    """How a run is carried out."""

    guarantee: Guarantee = Guarantee.AT_MOST_ONCE
    senders: int = Field(default=1, ge=1, le=64)
    batch: int = Field(default=2000, ge=1, le=50_000)
    deadline: Duration | None = None


class ThrottleSpec(_Part):
    """Upper bounds on the rate; None: as fast as the server takes it."""

    per_second: float | None = Field(default=None, gt=0)


class RetryStrategy(StrEnum):
    """How the wait grows from attempt to attempt."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    EXPONENTIAL_JITTER = "exponential_jitter"


class RetrySpec(_Part):
    """When a refused message is tried again."""

    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL_JITTER
    attempts: int = Field(default=5, ge=1, le=100)
    base: Duration = timedelta(seconds=30)
    max: Duration = timedelta(hours=1)


class OwnerSpec(_Part):
    """Who answers for a campaign."""

    name: str
    email: str | None = None


class CampaignDefinition(_Part):
    """A whole campaign file."""

    name: str = Field(pattern=SLUG)
    tenant: str = Field(pattern=SLUG)
    channel: CampaignChannel
    audience: AudienceSpec
    template: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}(@\d+)?$")
    block: str
    from_: str = Field(alias="from")
    headers: dict[str, str] = Field(default_factory=dict)
    attachments: list[str] = Field(default_factory=list)
    schedules: list[ScheduleSpec] = Field(default_factory=list)
    delivery: DeliverySpec = DeliverySpec()
    throttle: ThrottleSpec = ThrottleSpec()
    retry: RetrySpec = RetrySpec()
    owner: OwnerSpec | None = None
    environments: list[str] = Field(default_factory=list)

    @field_validator("channel")
    @classmethod
    def _one_channel_yet(cls, value: CampaignChannel) -> CampaignChannel:
        if value in (CampaignChannel.BOTH, CampaignChannel.FALLBACK):
            raise ValueError(f"{value.value!r} is not supported yet; write one file a channel")
        return value

    @field_validator("headers")
    @classmethod
    def _no_line_breaks(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if re.search(r"[\r\n]", name + text):
                raise ValueError(f"header {name!r} holds a line break")
        return value

    @model_validator(mode="after")
    def _sender_fits_channel(self) -> Self:
        if re.search(r"[\r\n]", self.from_):
            raise ValueError("from holds a line break")
        if self.channel is CampaignChannel.EMAIL and "@" not in parseaddr(self.from_)[1]:
            raise ValueError(f"from: {self.from_!r} is not an email address")
        return self

    @property
    def message_channel(self) -> Channel:
        """The channel that this campaign's messages go by."""
        return Channel.SMS if self.channel is CampaignChannel.SMS else Channel.EMAIL

    @property
    def reference(self) -> str:
        """``tenant/name``, as commands write it."""
        return f"{self.tenant}/{self.name}"
