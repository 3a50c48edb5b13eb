"""When a flow run's process is taken for gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import FlowRun, State, StateType

from ignition_ext.orchestration.heartbeats import (
    LONGEST_INTERVAL,
    MISSED,
    PENDING_LONGEST,
    SLACK,
    silent_since,
)
from ignition_ext.orchestration.senders import WORTH_A_SENDER, senders_wanted

BEGAN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
USUAL = timedelta(seconds=30)
SECONDS = st.integers(min_value=0, max_value=100_000).map(lambda count: timedelta(seconds=count))


def flow_run(state: StateType) -> FlowRun:
    return FlowRun(flow_id=uuid4(), state=State(type=state, timestamp=BEGAN))


@given(SECONDS)
def test_a_run_that_is_heard_of_is_never_gone(age: timedelta) -> None:
    """However long it runs, while its heartbeats come."""
    now = BEGAN + age
    last = now - MISSED * USUAL
    beats = (last, last - USUAL)
    assert silent_since(flow_run(StateType.RUNNING), beats, USUAL, now=now) is None


@given(SECONDS, st.integers(min_value=1, max_value=10_000))
def test_silence_is_told_with_its_beginning(heard: timedelta, more: int) -> None:
    """The last heartbeat, or the state where none came."""
    last = BEGAN + heard
    now = last + MISSED * USUAL + SLACK + timedelta(seconds=more)
    run = flow_run(StateType.RUNNING)
    assert silent_since(run, (last, last - USUAL), USUAL, now=now) == last
    assert silent_since(run, (last,), USUAL, now=now) == last
    assert silent_since(run, (), USUAL, now=now) == BEGAN


@given(st.integers(min_value=30, max_value=600))
def test_rare_heartbeats_are_waited_for(between: int) -> None:
    """A node that sends them more rarely than this one is not taken for dead after three."""
    interval = timedelta(seconds=between)
    last = BEGAN + 2 * interval
    beats = (last, last - interval)
    run = flow_run(StateType.RUNNING)
    missed = MISSED * min(interval, LONGEST_INTERVAL)
    assert silent_since(run, beats, USUAL, now=last + missed) is None
    gone = last + missed + SLACK + timedelta(seconds=1)
    assert silent_since(run, beats, USUAL, now=gone) == last


def test_without_heartbeats_nobody_is_taken_for_gone() -> None:
    """They can be turned off; then an operator has to say."""
    later = BEGAN + timedelta(days=1)
    assert silent_since(flow_run(StateType.RUNNING), (), None, now=later) is None


@pytest.mark.parametrize("state", set(StateType) - {StateType.RUNNING, StateType.PENDING})
def test_only_what_should_have_a_process_can_lose_it(state: StateType) -> None:
    """A run that waits, or has ended, has none."""
    later = BEGAN + timedelta(days=1)
    assert silent_since(flow_run(state), (), USUAL, now=later) is None


def test_a_process_that_never_began_is_given_up_late() -> None:
    """An image may have to be pulled first."""
    run = flow_run(StateType.PENDING)
    assert silent_since(run, (), USUAL, now=BEGAN + PENDING_LONGEST) is None
    assert silent_since(run, (), USUAL, now=BEGAN + 2 * PENDING_LONGEST) == BEGAN


@given(st.integers(1, 64), st.integers(0, 10_000_000))
def test_there_are_no_more_senders_than_allowed_or_worth_it(allowed: int, messages: int) -> None:
    """One at least: the run's own flow."""
    wanted = senders_wanted(allowed, messages)
    assert 1 <= wanted <= allowed
    assert wanted == 1 or (wanted - 1) * WORTH_A_SENDER < messages
    assert wanted == allowed or wanted * WORTH_A_SENDER >= messages
