"""What a dry run says of the steps of a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ignition_ext.campaigns.definition import DeliverySpec
from ignition_ext.delivery.estimate import Estimate
from ignition_ext.delivery.steps import planned_steps, with_waits

BEGIN = datetime(2026, 11, 21, 8, tzinfo=UTC)
RAMP = DeliverySpec.model_validate({"ramp": ["1%", "10%", "100%"], "ramp_wait": "1h"})


def test_steps_begin_after_the_waits_and_what_came_before() -> None:
    """At two a second a thousand take 500 s, and the waits come on top."""
    end = BEGIN + timedelta(seconds=500)
    expected = Estimate(rate=2.0, by="a rate", begin=BEGIN, end=end)

    steps = planned_steps(RAMP, 1000, expected)

    assert [(one.number, one.messages, one.upto) for one in steps] == [
        (1, 10, 10),
        (2, 90, 100),
        (3, 900, 1000),
    ]
    assert [one.begins - BEGIN for one in steps] == [
        timedelta(0),
        timedelta(hours=1, seconds=5),
        timedelta(hours=2, seconds=50),
    ]
    assert with_waits(expected, RAMP, steps).end == end + timedelta(hours=2)


def test_without_a_rate_only_the_waits_are_known() -> None:
    """And without a ramp nothing is to be said."""
    expected = Estimate(rate=None, by="", begin=BEGIN, end=None)

    steps = planned_steps(RAMP, 1000, expected)

    assert [one.begins - BEGIN for one in steps] == [timedelta(hours=hour) for hour in range(3)]
    assert with_waits(expected, RAMP, steps) is expected
    assert planned_steps(DeliverySpec(), 1000, expected) == []


def test_a_small_audience_has_fewer_steps_and_waits() -> None:
    """Ten people: 1 % and 10 % are the same one of them."""
    end = BEGIN + timedelta(seconds=5)
    expected = Estimate(rate=2.0, by="a rate", begin=BEGIN, end=end)

    steps = planned_steps(RAMP, 10, expected)

    assert [one.upto for one in steps] == [1, 10]
    assert with_waits(expected, RAMP, steps).end == end + timedelta(hours=1)
