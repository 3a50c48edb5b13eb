"""``ignition schedule``: when something would run, before it is saved."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cyclopts import App, Group, Parameter
from cyclopts.validators import LimitedChoice, Number

from ignition_ext.campaigns.written_schedules import WrittenSchedule, read_schedules
from ignition_ext.campaigns.yaml import YamlError, parse
from ignition_ext.cli.output import note, out, print_json
from ignition_ext.errors import ConfigurationError, ScheduleError
from ignition_ext.schedules.clock import FIRST_YEAR, LAST_YEAR, zone
from ignition_ext.schedules.cron import CronSchedule

MOST = 10_000
"""Times in one answer: a day of them at one in ten seconds."""

app = App(name="schedule", help="Schedules: checked, listed and said in words before they run.")
app.command("ignition_ext.cli.schedule_control:pause", name="pause")
app.command("ignition_ext.cli.schedule_control:resume", name="resume")
app.command("ignition_ext.cli.campaign_edit:change", name="change")
_ONE = Group("One of", validator=LimitedChoice(1, 1), sort_key=0)
Kind = Annotated[str | None, Parameter(group=_ONE)]
Numbered = Annotated[str | None, Parameter(group=_ONE, allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The schedule: give exactly one of cron, quartz, rrule, business-day and file."""

    cron: Kind = None
    """Five fields, as Prefect reads them."""

    quartz: Kind = None
    """Six or seven fields, seconds first, as Quartz reads them."""

    rrule: Kind = None
    """A rule of RFC 5545."""

    business_day: Numbered = None
    """The nth business day of each month, or last, or -2; with --calendar and --at."""

    calendar: str | None = None
    """Holidays: a country, its part, or a market: DE, DE-BY, NYSE."""

    at: str | None = None
    """Time of day for --business-day, 00:00 when not given."""

    roll: str | None = None
    """Where a month has too few business days: none, forward or back."""

    file: Annotated[Path | None, Parameter(group=_ONE)] = None
    """A campaign file, of which only the schedules are read, or a file of schedules alone."""

    def read(self, now: datetime) -> list[WrittenSchedule]:
        """The schedules.

        Raises:
            ScheduleError: none or several are given, or one is wrong.
        """
        given: dict[str, Any] = {
            key: value
            for key in ("cron", "quartz", "rrule", "business_day", "calendar", "at", "roll")
            if (value := getattr(self, key)) is not None
        }
        if self.rrule is not None:
            # A shell passes on what a person writes for a line break.
            given["rrule"] = self.rrule.replace("\\n", "\n")
        if self.file is None:
            return read_schedules(given, now=now)
        if given:
            raise ScheduleError(
                f"--file goes without --{next(iter(given)).replace('_', '-')}",
                mend="Write it in the file.",
            )
        try:
            return read_schedules(parse(self.file.read_bytes()).value, now=now)
        except (OSError, YamlError) as error:
            raise ScheduleError(f"{self.file} cannot be read: {error}", field="file") from error


Count = Annotated[int, Parameter(validator=Number(gte=1, lte=MOST))]
From = Annotated[str | None, Parameter(name="--from")]
Json = Annotated[bool, Parameter(negative="")]


@app.command
def preview(
    written: Written = Written(),
    *,
    timezone: str = "UTC",
    from_: From = None,
    count: Count = 10,
    json: Json = False,
) -> int:
    """Check a schedule and print its next times, in UTC and on its wall.

    Args:
        written: The schedule.
        timezone: IANA name of the zone it is meant in, where it names none itself.
        from_: Only times later than this moment (ISO 8601; without an offset in the zone); now
            when not given.
        count: How many times; fewer are printed when there are no more.
        json: Print one JSON document: valid and next, or valid and error with exit 1.
    """
    try:
        where = zone(timezone)
        after = _moment(from_, where)
        schedules = written.read(after)
        found = list(islice(_merged(schedules, after, where), count))
    except ConfigurationError as error:
        if not json:
            raise
        print_json({"valid": False, "error": str(error)})
        return 1
    if json:
        print_json({"valid": True, "next": found})
        return 0
    for schedule in (item.schedule for item in schedules):
        if isinstance(schedule, CronSchedule) and schedule.prefect_skips_march:
            note(
                f"Note: Prefect's own cron leaves out the first days of March for"
                f" {schedule.expression!r}. "
                + (
                    "A campaign hands it over as a rule; elsewhere write an rrule."
                    if schedule.as_rule()
                    else "Write two schedules, or an rrule."
                )
            )
    if not found:
        out.print("It does not fire any more.")
    shown_in = (len(schedules) == 1 and schedules[0].timezone) or where
    for moment in found:
        out.print(
            f"{moment:%Y-%m-%dT%H:%M:%SZ}  {moment.astimezone(shown_in):%a %d %b %Y %H:%M:%S %Z}"
        )
    return 0


@app.command
def explain(
    written: Written = Written(),
    *,
    timezone: str = "UTC",
    json: Json = False,
) -> int:
    """Say a schedule in words.

    Args:
        written: The schedule.
        timezone: IANA name of the zone it is meant in, where it names none itself.
        json: Print one JSON document: valid and text, or valid and error with exit 1.
    """
    try:
        where = zone(timezone)
        texts = [
            f"{found.schedule.explain()[:-1]} ({found.timezone or where})."
            for found in written.read(datetime.now(UTC))
        ]
    except ConfigurationError as error:
        if not json:
            raise
        print_json({"valid": False, "error": str(error)})
        return 1
    if json:
        print_json({"valid": True, "text": " ".join(texts)})
    else:
        for text in texts:
            out.print(text, markup=False, soft_wrap=True)
    return 0


def _merged(
    schedules: Iterable[WrittenSchedule], after: datetime, where: ZoneInfo
) -> Iterator[datetime]:
    every = heapq.merge(*(found.occurrences(after, where) for found in schedules))
    return (moment for moment, _ in groupby(every))


def _moment(text: str | None, where: ZoneInfo) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ScheduleError(
            f"{text!r} is not a time", field="from", mend="Write 2026-11-21T07:00:00Z."
        ) from error
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise ScheduleError(
            f"the year {moment.year} is not between {FIRST_YEAR} and {LAST_YEAR}", field="from"
        )
    return (moment if moment.tzinfo else moment.replace(tzinfo=where)).astimezone(UTC)
