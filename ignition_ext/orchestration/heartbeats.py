"""Whether a flow run's process is still there, by the heartbeats that Prefect's engine sends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.settings.context import get_current_settings

EVENT = "prefect.flow-run.heartbeat"
MISSED = 3
"""Heartbeats that may stay out: one is lost easily, while the server restarts for one."""
SLACK = timedelta(seconds=15)
"""The server stores events in groups, some seconds late."""
LONGEST_INTERVAL = timedelta(minutes=3)
"""Prefect's default."""
LOOK_BACK, AHEAD = timedelta(hours=6), timedelta(days=1)
"""Events bear the time of the node that sent them, whose clock may be wrong."""
PENDING_LONGEST = timedelta(minutes=15)
"""A process that was asked for and never began; pulling an image may take minutes."""


def usual_interval() -> timedelta | None:
    """How often flow runs are heard of, if this process is set as theirs are; None: never."""
    seconds = get_current_settings().flows.heartbeat_frequency
    return None if seconds is None else timedelta(seconds=seconds)


async def last_heartbeats(
    client: PrefectClient, flow_run_id: UUID, *, now: datetime
) -> Sequence[datetime]:
    """When the server received the last two heartbeats of a flow run, the newest first."""
    wanted = EventFilter(
        event=EventNameFilter(name=[EVENT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{flow_run_id}"]),
        occurred=EventOccurredFilter(since=now - LOOK_BACK, until=now + AHEAD),
    )
    page = await client.read_events(wanted, limit=2)
    return [event.received for event in page.events]


async def server_time(client: PrefectClient) -> datetime:
    """The Prefect server's time, in whole seconds: the clock of states and received events."""
    answer = await client.hello()
    try:
        return parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):  # a proxy may take it away
        return datetime.now(UTC)


def silent_since(
    flow_run: FlowRun, beats: Sequence[datetime], usual: timedelta | None, *, now: datetime
) -> datetime | None:
    """Since when nothing is heard of the flow run's process; None while it may be there.

    Args:
        flow_run: as Prefect has it.
        beats: its last two heartbeats, the newest first.
        usual: how often they come, where only one is known.
        now: the server's time.
    """
    state = flow_run.state
    if state is None:
        return None
    if state.type is StateType.PENDING:
        return state.timestamp if now - state.timestamp > PENDING_LONGEST else None
    if state.type is not StateType.RUNNING or usual is None:
        return None
    heard = max([state.timestamp, *beats])
    between = beats[0] - beats[1] if len(beats) > 1 else usual
    # Two heartbeats from two processes of the same run say nothing about their interval.
    interval = min(max(between, usual), LONGEST_INTERVAL)
    return heard if now - heard > MISSED * interval + SLACK else None
