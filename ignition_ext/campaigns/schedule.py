"""When a campaign runs by itself: cron, a fixed interval, or an RFC 5545 rule.

Everything is checked here, before Prefect sees it: Prefect also takes cron expressions of six
fields, whose *last* is seconds, so that a Quartz expression (seconds *first*) which happens to
parse would mean something else.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Self
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError
from dateutil.rrule import rrulestr
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from ignition_ext.campaigns.duration import Duration

SHORTEST = timedelta(minutes=1)
"""Cron's own resolution; a campaign that fires more often than it can start only piles up."""
RRULE_LENGTH = 6500
"""What Prefect stores at most: about 400 explicit dates."""

_ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly"})
_FIELD = re.compile(r"^(\*|L|L[0-7]|(\d+|[A-Z]{3})(-(\d+|[A-Z]{3}))?|(\d|[A-Z]{3})#[1-5])(/\d+)?$")
"""What Prefect's own cron takes: it has no W, no ``?`` and no hashed ``H`` or ``R``."""
_TOO_OFTEN = re.compile(r"FREQ=(SECONDLY|MINUTELY)|BYSECOND=\d+,", re.IGNORECASE)
"""dateutil walks these from their first date on for every question that Prefect asks."""


def check_cron(expression: str) -> str:
    """The expression with single spaces, if it is one of five fields that fires at some time.

    Raises:
        ValueError: it is none, or has Quartz's six or seven fields.
    """
    fields = expression.split()
    if len(fields) == 1 and fields[0].lower() in _ALIASES:
        return fields[0].lower()
    if len(fields) in (6, 7):
        raise ValueError(
            f"{expression!r} has {len(fields)} fields, cron has five: minute, hour, day of month,"
            " month, day of week; seconds (`quartz:`) are not supported yet"
        )
    if len(fields) != 5:
        raise ValueError(
            f"{expression!r} has {len(fields)} fields, cron has five: minute, hour, day of month,"
            " month, day of week"
        )
    for field in fields:
        if not all(_FIELD.match(item.upper()) for item in field.split(",")):
            raise ValueError(f"{field!r} in {expression!r} is not something that cron knows")
    joined = " ".join(fields)
    try:
        croniter(joined).get_next()
    except (CroniterError, ValueError) as error:
        raise ValueError(f"{expression!r} is not a cron expression that ever fires") from error
    return joined


def check_rrule(text: str) -> str:
    """The rule, if it is one of RFC 5545 section 3.3.10 that Prefect can store.

    Raises:
        ValueError: it is none, is too long, or fires every minute or second.
    """
    if len(text) > RRULE_LENGTH:
        raise ValueError(f"the rule has {len(text)} characters, at most {RRULE_LENGTH} can be kept")
    if _TOO_OFTEN.search(text):
        raise ValueError("a rule may fire once an hour at most; write `interval:` for less")
    try:
        rrulestr(text)
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"not a rule of RFC 5545: {error}") from error
    return text


def check_timezone(name: str) -> str:
    """The name, if it is one of the IANA database.

    Raises:
        ValueError: it is none; ``CEST`` and ``+02:00`` are not, they do not know summer time.
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ValueError(f"{name!r} is not a time zone; write one like Europe/Berlin") from error
    return name


class ScheduleSpec(BaseModel):
    """One schedule; without a ``timezone`` the tenant's holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str | None = None
    interval: Duration | None = None
    rrule: str | None = None
    timezone: str | None = None
    active: bool = True

    @field_validator("cron")
    @classmethod
    def _cron_fires(cls, value: str | None) -> str | None:
        return None if value is None else check_cron(value)

    @field_validator("interval")
    @classmethod
    def _interval_long_enough(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < SHORTEST:
            raise ValueError(f"{value} is too short; the least is one minute")
        return value

    @field_validator("rrule")
    @classmethod
    def _rrule_parses(cls, value: str | None) -> str | None:
        return None if value is None else check_rrule(value)

    @field_validator("timezone")
    @classmethod
    def _timezone_known(cls, value: str | None) -> str | None:
        return None if value is None else check_timezone(value)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in ("cron", "interval", "rrule") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of cron, interval and rrule")
        return self
