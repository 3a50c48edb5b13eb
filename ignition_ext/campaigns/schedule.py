"""When a campaign runs by itself: cron, a fixed interval, or an RFC 5545 rule.

Everything is checked here, before Prefect sees it: Prefect also takes cron expressions of six
fields, whose *last* is seconds, so that a Quartz expression (seconds *first*) which happens to
parse would mean something else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from ignition_ext.campaigns.duration import Duration
from ignition_ext.schedules.clock import zone
from ignition_ext.schedules.cron import CronSchedule
from ignition_ext.schedules.rrule import RuleSchedule

SHORTEST = timedelta(minutes=1)
"""Cron's own resolution; a campaign that fires more often than it can start only piles up."""


def check_cron(expression: str) -> str:
    """The expression with single spaces, if it is one of five fields that fires at some time.

    Raises:
        ScheduleError: it is none, or has Quartz's six or seven fields.
    """
    return CronSchedule.parse(expression).expression


def check_rrule(text: str) -> str:
    """The rule, if it is one of RFC 5545 section 3.3.10 that Prefect can store.

    Raises:
        ScheduleError: it is none, is too long, or fires every minute or second.
    """
    RuleSchedule.parse(text)
    return text


def check_timezone(name: str) -> str:
    """The name, if it is one of the IANA database.

    Raises:
        ScheduleError: it is none; ``CEST`` and ``+02:00`` are not, they do not know summer time.
    """
    return zone(name).key


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
