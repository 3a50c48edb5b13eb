"""A campaign's schedules as Prefect's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import (
    SCHEDULE_TYPES,
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
)

from ignition_ext.campaigns.schedule import ScheduleSpec
from ignition_ext.schedules import cron as expressions

ANCHOR = "DTSTART:20200101T000000\n"
"""What Prefect puts before a rule without a start; written here so that it reads back the same."""


def prefect_schedules(
    specs: Sequence[ScheduleSpec], *, timezone: str
) -> list[DeploymentScheduleCreate]:
    """Prefect's schedules with slugs such as ``cron-1``; ``timezone`` where one names none."""
    return [
        DeploymentScheduleCreate(
            schedule=prefect_schedule(spec, timezone=timezone),
            active=spec.active,
            slug=f"{_kind(spec)}-{number}",
        )
        for number, spec in enumerate(specs, start=1)
    ]


def prefect_schedule(spec: ScheduleSpec, *, timezone: str) -> SCHEDULE_TYPES:
    """One schedule. Intervals count from midnight of 1 January 2020 in the schedule's zone.

    So an interval does not depend on the moment at which it was applied. Whole days become a rule,
    because Prefect counts elapsed time: 24h would mean midnight in winter and one o'clock in
    summer. So does a cron expression of which Prefect loses the beginning of March.
    """
    zone = spec.timezone or timezone
    if spec.cron is not None:
        cron = expressions.CronSchedule.parse(spec.cron)
        if cron.prefect_skips_march and (rule := cron.as_rule()) is not None:
            return RRuleSchedule(rrule=ANCHOR + rule, timezone=zone)
        return CronSchedule(cron=spec.cron, timezone=zone)
    if spec.rrule is not None:
        anchored = "DTSTART" in spec.rrule.upper()
        return RRuleSchedule(rrule=spec.rrule if anchored else ANCHOR + spec.rrule, timezone=zone)
    assert spec.interval is not None
    days, rest = divmod(spec.interval, timedelta(days=1))
    if not rest:
        return RRuleSchedule(rrule=f"{ANCHOR}FREQ=DAILY;INTERVAL={days}", timezone=zone)
    anchor = datetime(2020, 1, 1, tzinfo=ZoneInfo(zone))
    return IntervalSchedule(interval=spec.interval, anchor_date=anchor, timezone=zone)


def _kind(spec: ScheduleSpec) -> str:
    return "cron" if spec.cron is not None else "rrule" if spec.rrule is not None else "interval"
