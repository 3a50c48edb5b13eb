"""Where a recipient is taken to live, and from when on they may be written to."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.delivery.local_time import CLOSE, LocalTime
from ignition_ext.schedules.local_time import QuietHours
from ignition_ext.values import Channel

HOME = "Europe/Berlin"
NIGHT = QuietHours.parse("21:00-08:00")
moments = st.integers(0, 366 * 24 * 3600).map(
    lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
places = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"]
)


@pytest.mark.parametrize(
    ("channel", "address", "timezone", "data", "expected"),
    [
        pytest.param(Channel.EMAIL, "a@b.example", "Asia/Tokyo", {}, ["Asia/Tokyo"], id="column"),
        pytest.param(Channel.SMS, "+12125550123", "Asia/Tokyo", {}, ["Asia/Tokyo"], id="before"),
        pytest.param(Channel.SMS, "+12125550123", None, {}, ["America/New_York"], id="number"),
        pytest.param(
            Channel.EMAIL,
            "a@b.example",
            None,
            {"phone": "+819012345678"},
            ["Asia/Tokyo"],
            id="beside",
        ),
        pytest.param(Channel.EMAIL, "a@b.example", None, {"phone": ""}, [HOME], id="tenant"),
        pytest.param(Channel.EMAIL, "a@b.example", None, {"phone": 7}, [HOME], id="no text"),
        pytest.param(Channel.EMAIL, "a@b.example", "Mars/Base", {}, [HOME], id="no zone"),
        pytest.param(Channel.EMAIL, "a@b.example", "../../etc", {}, [HOME], id="no path"),
        pytest.param(Channel.SMS, "+870771234567", None, {}, [HOME], id="satellite"),
        pytest.param(Channel.SMS, "+34612345678", None, {}, ["Atlantic/Canary", "Europe/Madrid"]),
    ],
)
def test_the_column_goes_before_the_number_and_the_number_before_the_tenant(
    channel: Channel, address: str, timezone: str | None, data: dict[str, Any], expected: list[str]
) -> None:
    """What says nothing is passed over."""
    zones = LocalTime(HOME).zones(channel, address, timezone, data)

    assert sorted(zone.key for zone in zones) == expected


@given(moments, places, st.integers(0, 3 * 3600))
def test_nobody_is_written_to_in_quiet_hours_nor_before_the_local_time(
    begin: datetime, place: str, late: int
) -> None:
    """However late the run begins, and whatever the clocks do."""
    rules = LocalTime(HOME, quiet=NIGHT, at=time(9, 30))
    now = begin + timedelta(seconds=late)
    zones = rules.zones(Channel.EMAIL, "a@b.example", place, {})
    due = rules.first(begin, now, zones) or now

    shown = due.astimezone(ZoneInfo(place)).time()
    assert due >= now
    assert due - begin <= timedelta(hours=25)
    assert not NIGHT.covers(shown)
    assert shown == time(9, 30) or due == now


@given(moments, places)
def test_what_is_let_go_is_not_within_a_second_of_quiet_hours(now: datetime, place: str) -> None:
    """And what is held is held until they are over, no longer than a night."""
    rules = LocalTime(HOME, quiet=NIGHT)
    zones = rules.zones(Channel.EMAIL, "a@b.example", place, {})
    zone = ZoneInfo(place)
    held = rules.held_until(now, zones)

    if held is None:
        assert not NIGHT.covers(now.astimezone(zone).time())
        assert not NIGHT.covers((now + CLOSE).astimezone(zone).time())
    else:
        assert now < held <= now + timedelta(hours=12, seconds=1)
        assert not NIGHT.covers(held.astimezone(zone).time())


def test_a_run_that_begins_at_the_local_time_sends_at_once() -> None:
    """Not a day later, for the milliseconds that have passed since."""
    begin = datetime(2026, 11, 21, 8, 0, 0, 700_000, tzinfo=UTC)
    rules = LocalTime(HOME, at=time(9))
    zones = rules.zones(Channel.EMAIL, "a@b.example", HOME, {})

    assert rules.first(begin, begin + timedelta(seconds=2), zones) is None


def test_without_any_rule_nobody_waits() -> None:
    """Neither before nor at the claim."""
    rules = LocalTime(HOME)
    now = datetime(2026, 11, 21, 3, tzinfo=UTC)
    zones = rules.zones(Channel.SMS, "+4915123456789", None, {})

    assert rules.first(now, now, zones) is None
    assert rules.held_until(now, zones) is None
    assert rules.closes(now, zones) is None


def test_zones_without_a_common_hour_go_by_the_tenants() -> None:
    """A number that may be anywhere says nothing."""
    rules = LocalTime(HOME, quiet=QuietHours.parse("20:00-10:00"))
    far = tuple(ZoneInfo(name) for name in ("Pacific/Honolulu", "Pacific/Kiritimati", HOME))
    noon = datetime(2026, 11, 21, 11, tzinfo=UTC)
    night = datetime(2026, 11, 21, 23, tzinfo=UTC)

    assert rules.held_until(noon, far) is None
    assert rules.held_until(night, far) == datetime(2026, 11, 22, 9, tzinfo=UTC)
