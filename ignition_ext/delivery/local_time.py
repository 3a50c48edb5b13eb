"""When each recipient of a campaign may be written to, by the clock where they live.

A recipient lives in the zone of the column ``timezone``; without one in that of the telephone
number, without a number in the tenant's. Numbers of some kinds (mobiles of large countries,
toll-free ones) belong to several zones: then all of them have to be awake, and a local time comes
with the westernmost. Where the zones have no common hour the number says nothing, and the
tenant's holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers

from ignition_ext.database import Database, database_now
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.schedules.clock import wall
from ignition_ext.schedules.local_time import (
    QuietHours,
    next_local,
    open_everywhere,
    westernmost,
)
from ignition_ext.values import Channel

Zones = tuple[ZoneInfo, ...]
Clock = Callable[[], datetime]
"""The present, by the database's clock."""
_MINUTE = 60
"""Seconds: hours begin and end, and clocks are set, at whole minutes."""
_REMEMBERED = 20_000
"""Zones and minutes whose answer is kept; some MB. There are 600 zones, and few sets of them."""
CLOSE = timedelta(seconds=1)
"""Nothing begins so shortly before quiet hours: its last byte would be written within them."""


class LocalTime:
    """A campaign's rules of the hour, applied to one recipient at a time.

    Args:
        home: the tenant's zone.
        quiet: hours in which nothing is sent.
        at: the time on each recipient's clock at which a run reaches them; None: at once.
    """

    def __init__(
        self, home: str, *, quiet: QuietHours | None = None, at: time | None = None
    ) -> None:
        self._home: Zones = (ZoneInfo(home),)
        self._quiet, self._at = quiet, at
        self._open: dict[tuple[Zones, int], datetime] = {}

    def zones(
        self, channel: Channel, address: str, timezone: str | None, data: Mapping[str, Any]
    ) -> Zones:
        """Where a recipient may be; never empty.

        Args:
            channel: of the message.
            address: of the message; for SMS it is the number.
            timezone: the recipient's own, an IANA name.
            data: the recipient's columns; ``phone`` is E.164 there.
        """
        if timezone is not None and (own := _named(timezone)) is not None:
            return (own,)
        phone = address if channel is Channel.SMS else data.get("phone")
        found = zones_of_number(phone) if isinstance(phone, str) and phone else ()
        return found or self._home

    def first(self, begin: datetime, now: datetime, zones: Zones) -> datetime | None:
        """From when on a recipient may be written to; None: at once.

        Args:
            begin: when the run was to begin, however late it is.
            now: the present; quiet hours count from then.
        """
        due = now
        if self._at is not None:
            begin = begin.replace(microsecond=0)  # what begins now is in time, not a day early
            due = max(next_local(begin, westernmost(begin, zones), self._at), now)
        due = self.opens(due, zones)
        return due if due > now else None

    def held_until(self, now: datetime, zones: Zones) -> datetime | None:
        """When the quiet hours end that ``now`` lies in; None when it may go out."""
        return self._opens(now, zones) or self._opens(now + CLOSE, zones)

    def opens(self, moment: datetime, zones: Zones) -> datetime:
        """The first time from ``moment`` on that is not quiet."""
        return self._opens(moment, zones) or moment

    def closes(self, moment: datetime, zones: Zones) -> datetime | None:
        """When the next quiet hours of any of the zones begin; None without quiet hours."""
        quiet = self._quiet
        if quiet is None:
            return None
        return min(next_local(moment, zone, quiet.start) for zone in zones)

    def _opens(self, moment: datetime, zones: Zones) -> datetime | None:
        """The first time that is not quiet where ``moment`` is; None when it is not."""
        if self._quiet is None:
            return None
        minute = int(moment.timestamp()) // _MINUTE
        key = (zones, minute)
        opens = self._open.get(key)
        if opens is None:
            if len(self._open) >= _REMEMBERED:
                self._open.clear()
            begin = datetime.fromtimestamp(minute * _MINUTE, UTC)
            common = open_everywhere(begin, zones, self._quiet)
            if common is None:
                common = open_everywhere(begin, self._home, self._quiet)
            opens = self._open[key] = begin if common is None else common
        return opens if opens > moment else None


def local_time_of(plan: CampaignPlan, begin: datetime) -> LocalTime:
    """The campaign's rules of the hour.

    Args:
        begin: when the run was to begin: ``local_time: true`` means that time, as the clock
            shows it in the zone that the run is named in.
    """
    delivery = plan.stored.definition.delivery
    at = delivery.local_time
    if isinstance(at, bool):
        at = wall(begin.replace(microsecond=0), ZoneInfo(plan.timezone)).time()
    return LocalTime(plan.stored.tenant.timezone, quiet=delivery.quiet_hours, at=at)


def zones_of_number(number: str) -> Zones:
    """The zones that an E.164 number may be in; empty where its kind says nothing."""
    # Loaded late: its table of prefixes takes 11 MB, and few campaigns ask.
    from phonenumbers.timezone import time_zones_for_number

    try:
        return _known(tuple(time_zones_for_number(phonenumbers.parse(number))))
    except phonenumbers.NumberParseException:
        return ()


@lru_cache(maxsize=4096)
def _known(names: Sequence[str]) -> Zones:
    """Those that this machine knows, without those whose clock is another's."""
    return tuple(zone for name in names if name != "Etc/Unknown" and (zone := _named(name)))


@lru_cache(maxsize=1024)
def _named(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


async def database_clock(database: Database) -> Clock:
    """The database's clock, asked once and carried on by this process's: for minutes, not days."""
    async with database.read() as session:
        began, shown = monotonic(), await database_now(session)
    return lambda: shown + timedelta(seconds=monotonic() - began)
