"""Business days of each month, by a calendar of holidays."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

import holidays

from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.clock import LAST_YEAR, in_order, start_of_walls
from ignition_ext.schedules.recurring import Monthly, counted_back, months_from, told
from ignition_ext.schedules.words import ordinal

MOST = 23
"""No month has more business days."""
_DAY = timedelta(days=1)
_LONGEST_HOLIDAY = 60
"""Days without a business day after which a calendar is wrong, not festive."""


class Roll(StrEnum):
    """Where a run goes whose day is no business day, or is not in its month."""

    NONE = "none"
    FORWARD = "forward"
    BACK = "back"


@lru_cache(maxsize=256)
def _public_holidays(code: str) -> holidays.HolidayBase:
    """Made once a process: it takes milliseconds, and thousands of schedules name one."""
    country, _, subdivision = code.partition("-")
    if country in holidays.list_supported_financial() and not subdivision:
        return holidays.financial_holidays(country)
    return holidays.country_holidays(country, subdiv=subdivision or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The days on which nobody works: weekends, public holidays, and a tenant's own dates."""

    code: str
    dates: frozenset[date]
    public: holidays.HolidayBase = field(compare=False, repr=False)

    @classmethod
    def load(cls, code: str, *, dates: Iterable[date] = ()) -> Self:
        """A calendar of the package ``holidays``.

        Args:
            code: ``DE``, ``DE-BY`` (ISO 3166), or a market such as ``NYSE`` or ``ECB``.
            dates: Days of one's own that are no business days either.

        Raises:
            ScheduleError: there is no such calendar.
        """
        try:
            public = _public_holidays(code.upper())
        except NotImplementedError as error:
            raise ScheduleError(
                f"there is no holiday calendar {code!r}",
                field="calendar",
                mend="Write a country such as DE, with its part as in DE-BY, or a market: NYSE.",
            ) from error
        return cls(code=code.upper(), dates=frozenset(dates), public=public)

    @property
    def last_year(self) -> int:
        """The last year whose holidays are known."""
        return min(self.public.end_year, LAST_YEAR)

    def is_business_day(self, day: date) -> bool:
        """Whether people work on that day."""
        return day not in self.dates and self.public.is_working_day(day)

    def business_days(self, year: int, month: int) -> list[date]:
        """Those of a month, ascending."""
        first, length = date(year, month, 1), monthrange(year, month)[1]
        return [d for d in (first + n * _DAY for n in range(length)) if self.is_business_day(d)]

    def next_business_day(self, day: date, step: int) -> date | None:
        """The nearest one from ``day`` on, forward for 1 and back for -1."""
        for distance in range(_LONGEST_HOLIDAY):
            found = day + step * distance * _DAY
            if self.is_business_day(found):
                return found
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessDay:
    """The nth business day of each month; negative counts from its end, -1 is the last.

    A month that has fewer is left out, or with ``roll`` the run goes to the next business day
    behind the end (before the beginning) that was counted to, or to the one before it.
    """

    number: int
    at: time
    calendar: Calendar
    roll: Roll = Roll.NONE

    def __post_init__(self) -> None:
        """Refuse what no month has."""
        if self.number == 0 or abs(self.number) > MOST:
            raise ScheduleError(
                f"{self.number} is no business day of a month",
                field="business_day",
                mend=f"Write 1 to {MOST}, last, or -1 to -{MOST} to count from the end.",
            )

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending; ends with the calendar's years."""
        return in_order(self._walls(start_of_walls(after, timezone)), timezone, after=after)

    def explain(self) -> str:
        """The schedule in words."""
        which = ordinal(self.number) if self.number > 0 else counted_back(self.number)
        own = f" and {len(self.calendar.dates)} dates of one's own" if self.calendar.dates else ""
        match self.roll:
            case Roll.NONE:
                roll = ""
            case Roll.FORWARD | Roll.BACK:
                roll = f"; rolled {self.roll} where a month has fewer"
        return (
            f"At {told(self.at)}, on the {which} business day of the month"
            f" (calendar {self.calendar.code}{own}){roll}."
        )

    def _walls(self, start: datetime) -> Iterator[datetime]:
        # A month before, because a run may roll out of it.
        for year, month in months_from(start.date().replace(day=1) - _DAY):
            if year > self.calendar.last_year:
                return
            day = self._day(year, month)
            if day is not None:
                yield datetime.combine(day, self.at)

    def _day(self, year: int, month: int) -> date | None:
        days = self.calendar.business_days(year, month)
        if len(days) >= abs(self.number):
            return days[self.number - 1 if self.number > 0 else self.number]
        first, last = date(year, month, 1), date(year, month, monthrange(year, month)[1])
        match self.roll:
            case Roll.NONE:
                return None
            case Roll.FORWARD:
                return self.calendar.next_business_day(last + _DAY if self.number > 0 else first, 1)
            case Roll.BACK:
                return self.calendar.next_business_day(
                    last if self.number > 0 else first - _DAY, -1
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledMonthly:
    """Days of each month, but only business days: another is left out or rolled to the next."""

    monthly: Monthly
    calendar: Calendar
    roll: Roll = Roll.NONE

    def occurrences(self, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
        """The times later than ``after`` in UTC, ascending; ends with the calendar's years."""
        return in_order(self._walls(start_of_walls(after, timezone)), timezone, after=after)

    def explain(self) -> str:
        """The schedule in words."""
        match self.roll:
            case Roll.NONE:
                rule = "only on business days"
            case Roll.FORWARD:
                rule = "else on the next business day"
            case Roll.BACK:
                rule = "else on the business day before"
        return f"{self.monthly.explain()[:-1]}, {rule} (calendar {self.calendar.code})."

    def _walls(self, start: datetime) -> Iterator[datetime]:
        # From months before, because a run may roll out of them.
        for shown in self.monthly.walls(start - _LONGEST_HOLIDAY * _DAY):
            day: date | None = shown.date()
            if shown.year > self.calendar.last_year:
                return
            if not self.calendar.is_business_day(shown.date()):
                day = self._rolled(shown.date())
            if day is not None:
                yield datetime.combine(day, self.monthly.at)

    def _rolled(self, day: date) -> date | None:
        match self.roll:
            case Roll.NONE:
                return None
            case Roll.FORWARD:
                return self.calendar.next_business_day(day, 1)
            case Roll.BACK:
                return self.calendar.next_business_day(day, -1)
