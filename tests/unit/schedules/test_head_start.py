"""A run that asks Prefect to begin asks at a moment from which it begins a little early."""

from __future__ import annotations

import math
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.schedules.head_start import HEAD_START, wait_for_head_start

HALF = timedelta(seconds=0.5)
LEFT = st.timedeltas(min_value=timedelta(seconds=-100), max_value=timedelta(days=1))


def servers_delay(left: timedelta) -> timedelta:
    """As Prefect's rule ``WaitForScheduledTime`` has it: 0 lets the run begin."""
    whole = math.floor(left.total_seconds()) + round(left.microseconds / 1e6)
    return timedelta(seconds=max(whole, 0))


@given(left=LEFT)
def test_a_run_begins_just_before_its_time(left: timedelta) -> None:
    """Never late for having waited, and never so early that the server would not have it."""
    asked = left - wait_for_head_start(left)
    begun = asked - servers_delay(asked)

    assert servers_delay(begun) == timedelta(0)
    if left > HEAD_START:
        assert begun == HEAD_START


@given(left=LEFT, on_the_way=st.timedeltas(timedelta(0), HEAD_START))
def test_the_way_to_the_server_makes_no_run_late(left: timedelta, on_the_way: timedelta) -> None:
    """A request that takes a while takes it from the head start alone."""
    asked = left - wait_for_head_start(left)
    heard = asked - on_the_way
    begun = heard - servers_delay(heard)

    if left > HEAD_START:
        assert timedelta(0) <= begun <= HEAD_START


@given(left=LEFT)
def test_a_run_waits_less_than_a_second_by_itself(left: timedelta) -> None:
    """The rest of the wait is Prefect's, where it can be cancelled like any other."""
    assert timedelta(0) <= wait_for_head_start(left) < timedelta(seconds=1)
    if left <= HALF and left <= HEAD_START:
        assert wait_for_head_start(left) == timedelta(0)
