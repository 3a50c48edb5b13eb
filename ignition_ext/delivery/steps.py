"""The steps of a run that has not begun: how many messages, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ignition_ext.campaigns.definition import DeliverySpec
from ignition_ext.campaigns.steps import DEFAULT_WAIT, step_targets
from ignition_ext.delivery.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of a run that would begin now.

    Attributes:
        messages: that it adds.
        upto: that are out after it.
        begins: at the earliest: the waits, and what the steps before take at the expected rate.
    """

    number: int
    messages: int
    upto: int
    begins: datetime


def planned_steps(
    delivery: DeliverySpec, messages: int, expected: Estimate
) -> Sequence[PlannedStep]:
    """The steps of a run of so many messages; none without a ramp."""
    targets = step_targets(delivery.ramp, messages)
    wait = delivery.ramp_wait or DEFAULT_WAIT
    steps = []
    for number, (before, upto) in enumerate(zip((0, *targets), targets, strict=False), 1):
        sending = timedelta(seconds=before / expected.rate if expected.rate else 0)
        begins = expected.begin + wait * (number - 1) + sending
        steps.append(PlannedStep(number=number, messages=upto - before, upto=upto, begins=begins))
    return steps


def with_waits(
    expected: Estimate, delivery: DeliverySpec, steps: Sequence[PlannedStep]
) -> Estimate:
    """The same estimate, with the waits between the steps."""
    if expected.end is None or len(steps) < 2:
        return expected
    waits = (delivery.ramp_wait or DEFAULT_WAIT) * (len(steps) - 1)
    return replace(expected, end=expected.end + waits)
