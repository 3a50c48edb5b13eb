"""A campaign's schedules as Prefect's: made, compared with what is there, and renewed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import (
    SCHEDULE_TYPES,
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
)

from ignition_ext.campaigns.schedule import ScheduleSpec, part_slug, schedule_slug
from ignition_ext.campaigns.written_schedules import WrittenSchedule
from ignition_ext.schedules.forms import Form, forms

_BEGIN = re.compile(r"DTSTART:(\d{8}T\d{6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """The schedules of a campaign with all that they are counted from.

    Their runs know them by the slug, which Prefect writes down as who made the run. Parameters of
    the schedule would not last: Prefect empties them when somebody switches the schedule in its UI.

    Attributes:
        specs: what the file says.
        timezone: the tenant's, for schedules that name none.
        holidays: the tenant's own.
        applied_at: what ``once_after`` counts from.
    """

    specs: Sequence[ScheduleSpec]
    timezone: str
    holidays: Collection[date] = field(default=())
    applied_at: datetime

    def named(self) -> Iterator[tuple[str, ScheduleSpec, WrittenSchedule, ZoneInfo]]:
        """Each schedule with its slug and the zone of its wall."""
        for number, spec in enumerate(self.specs, start=1):
            written = spec.read(now=self.applied_at, holidays=self.holidays)
            where = written.timezone or ZoneInfo(self.timezone)
            yield schedule_slug(number, spec), spec, written, where

    def prefect(
        self, now: datetime, existing: Sequence[DeploymentSchedule] = ()
    ) -> list[DeploymentScheduleCreate]:
        """Prefect's schedules, with slugs such as ``cron-1``.

        Args:
            now: from when on they have to be right.
            existing: those that are there. One that is still good is made as it is.
        """
        there = {one.slug: one.schedule for one in existing}
        made = []
        for slug, spec, written, where in self.named():
            begin = _begin(there.get(slug)) or now
            found = forms(written.schedule, where, begin)
            if is_due(found, now):
                found = forms(written.schedule, where, now)
            made += [self._create(slug, spec, form) for form in found]
        return made

    def is_due_within(self, now: datetime, span: timedelta) -> bool:
        """Whether one of the schedules has a time in the ``span`` from ``now`` on."""
        return any(
            spec.active and next(written.occurrences(now, where), now + span) < now + span
            for _, spec, written, where in self.named()
        )

    def _create(self, slug: str, spec: ScheduleSpec, form: Form) -> DeploymentScheduleCreate:
        return DeploymentScheduleCreate(
            schedule=as_prefect(form),
            active=spec.active,
            slug=part_slug(slug, form.part),
        )


def is_due(made: Iterable[Form], now: datetime) -> bool:
    """Whether one of them has to be renewed."""
    return any(form.renew_at is not None and form.renew_at <= now for form in made)


@lru_cache(maxsize=1024)
def as_prefect(form: Form) -> SCHEDULE_TYPES:
    """The form in Prefect's class. Dates take Prefect long to check, so it is asked once."""
    if form.cron:
        return CronSchedule(cron=form.cron, timezone=form.timezone)
    if form.interval is not None:
        assert form.anchor is not None
        return IntervalSchedule(
            interval=form.interval, anchor_date=form.anchor, timezone=form.timezone
        )
    return RRuleSchedule(rrule=form.rule, timezone=form.timezone)


def _begin(there: SCHEDULE_TYPES | None) -> datetime | None:
    """From when on a rule that is there was made to be right."""
    if not isinstance(there, RRuleSchedule) or (named := _BEGIN.match(there.rrule)) is None:
        return None
    shown = datetime.strptime(named[1], "%Y%m%dT%H%M%S")
    return shown.replace(tzinfo=ZoneInfo(there.timezone or "UTC")).astimezone(UTC)
