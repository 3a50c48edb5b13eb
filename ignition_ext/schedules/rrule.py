"""RFC 5545 recurrence rules (section 3.3.10), fired as Prefect's ``RRuleSchedule`` fires them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rruleset, rrulestr

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.clock import LAST_YEAR, in_order, start_of_walls

ANCHOR = datetime(2020, 1, 1)
"""Where Prefect lets a rule begin that has no DTSTART."""
LENGTH = 6500
"""What Prefect stores at most: about 400 explicit dates."""
_TOO_OFTEN = re.compile(r"FREQ=(SECONDLY|MINUTELY)|BYSECOND=\d+,", re.IGNORECASE)
"""dateutil walks these from their first date on for every question that Prefect asks."""
_TIME = re.compile(r"\d{8}T\d{6}(Z?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSchedule:
    """A rule, or a set of rules and dates; :meth:`parse` makes one.

    With ``utc`` its times end in Z: it runs by UTC, whatever the schedule's zone.
    """

    text: str
    utc: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read lines such as ``DTSTART:…`` and ``RRULE:…``, or a rule alone.

        Raises:
            ScheduleError: it is none, is too long, or fires every minute or second.
        """
        text = text.strip()
        if len(text) > LENGTH:
            raise ScheduleError(
                f"the rule has {len(text)} characters, at most {LENGTH} can be kept", field="rrule"
            )
        if _TOO_OFTEN.search(text):
            raise ScheduleError(
                "a rule may fire once an hour at most",
                field="rrule",
                mend="Write an interval, cron or quartz for less.",
            )
        if "TZID" in text.upper():
            raise ScheduleError(
                "TZID is not read", field="rrule", mend="Leave it away and give the timezone."
            )
        marks = {mark.upper() for mark in _TIME.findall(text)}
        if len(marks) > 1 or (marks == {"Z"} and not re.search("DTSTART|RDATE", text, re.I)):
            raise ScheduleError(
                "some of its times end in Z and some do not (its start has none)",
                field="rrule",
                mend="End all times in Z for UTC, or none for the schedule's time zone.",
            )
        schedule = cls(text=_TIME.sub(lambda time: time[0].rstrip("Zz"), text), utc=marks == {"Z"})
        try:
            schedule._rule()
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
            raise ScheduleError(f"not a rule of RFC 5545: {error}", field="rrule") from error
        return schedule

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending."""
        where = ZoneInfo("UTC") if self.utc else timezone
        return in_order(self._walls(start_of_walls(after, where)), where, after=after)

    def explain(self) -> str:
        """The schedule in words: the rule itself, which says more than a paraphrase of it."""
        zone = " by UTC" if self.utc else ""
        return f"By the recurrence rule {'; '.join(self.text.split())}{zone}."

    def _rule(self) -> rrule | rruleset:
        return rrulestr(self.text, dtstart=ANCHOR)

    def _walls(self, start: datetime) -> Iterator[datetime]:
        rule = self._rule()
        # dateutil looks for a 30 February until the year 9999, unless it is told to stop.
        if isinstance(rule, rrule) and "COUNT=" not in self.text.upper():
            until = getattr(rule, "_until", None) or datetime(LAST_YEAR, 12, 31)
            rule = rule.replace(until=min(until, datetime(LAST_YEAR, 12, 31)))
        for shown in rule.xafter(start):
            if shown.year > LAST_YEAR:
                return
            yield shown
