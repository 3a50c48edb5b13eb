"""When a campaign runs by itself, and what is to become of runs that could not start in time.

The words are those of ``written_schedules``, which previews read too. Everything is checked here,
before Prefect sees it: Prefect also takes cron expressions of six fields, whose *last* is seconds,
so that a Quartz expression (seconds *first*) which happens to parse would mean something else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from ignition_ext.campaigns.condition import ConditionSpec
from ignition_ext.campaigns.duration import Duration
from ignition_ext.campaigns.written_schedules import (
    KINDS,
    OWN_WORDS,
    WrittenSchedule,
    read_schedule,
)
from ignition_ext.errors import ScheduleError

MISFIRE_GRACE = timedelta(minutes=5)
"""Later than this a run was missed: a worker that restarts, or a full pool, takes less."""


_MAIN = re.compile(r"[a-z-]+-\d+")


class Misfire(StrEnum):
    """What becomes of runs that were missed while workers or the server were down."""

    SKIP = "skip"
    RUN_ONCE = "run_once"
    RUN_ALL = "run_all"


class WrongSchedule(ValueError):
    """A schedule that cannot be read; ``key`` is the one to blame in the file."""

    def __init__(self, error: ScheduleError, key: str) -> None:
        self.key = key
        super().__init__(str(error).removeprefix(f"{key}: "))


class ScheduleSpec(BaseModel):
    """One schedule; without a ``timezone`` the tenant's holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str | None = None
    quartz: str | None = None
    rrule: str | None = None
    interval: Duration | None = None
    every: str | None = None
    business_day: StrictInt | str | None = None
    once: str | None = None
    once_after: str | None = None
    at: str | StrictInt | None = None
    on: list[str | StrictInt] | str | StrictInt | None = None
    calendar: str | None = None
    dates: list[str] | None = Field(default=None, max_length=1000)
    roll: str | None = None
    timezone: str | None = None
    active: bool = True
    condition: ConditionSpec | None = None
    misfire: Misfire | None = None
    grace: Duration | None = None

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        try:
            self.read(now=datetime.now(UTC))
        except ScheduleError as error:
            raise WrongSchedule(error, self._blamed(error)) from error
        if self.grace is not None and self.misfire is None:
            raise ValueError("grace goes with misfire: it says what was missed")
        return self

    @property
    def kind(self) -> str:
        """``cron``, ``quartz`` and so on."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def missed_after(self) -> timedelta:
        """How late a run may begin before it counts as missed."""
        return self.grace or MISFIRE_GRACE

    def read(self, *, now: datetime, holidays: Collection[date] = ()) -> WrittenSchedule:
        """The schedule that is written here.

        Args:
            now: what ``once_after`` counts from.
            holidays: the tenant's own dates, beside those of the calendar.

        Raises:
            ScheduleError: it cannot be read.
        """
        said = self.model_dump(mode="json", exclude_none=True, include=_WORDS)
        return read_schedule(said, now=now, holidays=holidays)

    def _blamed(self, error: ScheduleError) -> str:
        if error.field in type(self).model_fields:
            return error.field
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        return kinds[0] if len(kinds) == 1 else ""


def schedule_slug(number: int, spec: ScheduleSpec) -> str:
    """How Prefect and a run's parameters name a campaign's schedule, counted from 1."""
    return f"{spec.kind.replace('_', '-')}-{number}"


def part_slug(slug: str, part: str) -> str:
    """The name of what Prefect has beside a schedule's main form: ``quartz-1-clocks``."""
    return f"{slug}-{part}" if part else slug


def main_slug(slug: str | None) -> str:
    """The name of the schedule that something in Prefect is of: ``quartz-1``."""
    main = _MAIN.match(slug or "")
    return main[0] if main else ""


def find_schedule(specs: Sequence[ScheduleSpec], slug: str | None) -> ScheduleSpec | None:
    """The schedule of that name or part of it, None where the campaign has it no more."""
    named = {schedule_slug(number, spec): spec for number, spec in enumerate(specs, start=1)}
    return named.get(main_slug(slug))


_WORDS: Any = frozenset(KINDS) | OWN_WORDS | {"timezone"}
