"""What an operator does to a run in Prefect while it sends, and what the run does about it.

Prefect tells a process only of a cancel. A pause or suspension from the UI or the API stands in
its database until somebody asks, so the run asks while it sends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Pause, PrefectException

from ignition_ext.database import Database
from ignition_ext.errors import ConflictError
from ignition_ext.ledger.runs import OpenedRun, find_run, mirror, set_run_state
from ignition_ext.orchestration.mirror import PREFECT_ACTOR
from ignition_ext.settings import Settings
from ignition_ext.values import MessageState, RunState
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.live_progress import LiveProgress

AWAY = (httpx.HTTPError, OSError, PrefectException)
"""What Prefect's client raises when its server is away, or fails. The sending goes on without."""
PAUSED_IN_PREFECT = "paused in Prefect"
"""Why a shared run is paused in the ledger, so that only the same way takes it back."""
ANSWER_SECONDS = 5.0
"""The client tries again for minutes; the sending must not wait so long for a pause to be seen."""


def is_over(ends_by: datetime | None) -> bool:
    """Whether a run's time limit is over."""
    return ends_by is not None and datetime.now(UTC) >= ends_by


@dataclass(slots=True)
class PrefectControl:
    """Shows the progress of a batch, and looks now and then whether the run was paused."""

    progress: LiveProgress
    ends_by: datetime | None = None
    every: float = field(default_factory=lambda: Settings().control_seconds)
    looked_at: float = 0.0
    is_away: bool = False
    paused: State[Any] | None = None
    alarm: Callable[[Mapping[MessageState, int]], bool] | None = None

    async def tick(self, *, last: bool = False) -> bool:
        """Called often while a batch is being sent, and at its end: whether it may go on."""
        if is_over(self.ends_by) and not last:
            return False
        if self.alarm is not None and not last and self.alarm(self.progress.tally.counts):
            return False  # the batch ends, and the run is looked at
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.progress.show(always=last)
                goes_on = await self._goes_on()
        except (TimeoutError, *AWAY) as error:
            self._away(error)
            return True
        if self.is_away:
            self.is_away = False
            get_run_logger().info("the Prefect server is back")
        return goes_on

    async def _goes_on(self) -> bool:
        now = time.monotonic()
        if now - self.looked_at < self.every:
            return True
        self.looked_at = now
        self.paused = _if_paused((await read_flow_run()).state)
        return self.paused is None

    def _away(self, error: Exception) -> None:
        self.looked_at = time.monotonic()
        if not self.is_away:
            self.is_away = True
            get_run_logger().warning(
                "the Prefect server is away, the sending goes on: %s", error or "no answer"
            )


async def read_flow_run() -> FlowRun:
    """The flow run around this call, as the server has it now."""
    async with get_client() as client:
        return await client.read_flow_run(current_flow_run().id)


async def stay_paused(run: OpenedRun, *, shared: bool) -> None:
    """Return when the run is not paused in Prefect, which is mostly at once.

    A paused run keeps its process (Prefect's ``Paused``, which starts none when it is resumed); a
    suspended one ends it.

    Raises:
        Pause: the run is suspended; it is no failure, the engine ends the process with it.
    """
    known = None
    while (state := await _paused_state()) is not None:
        if known != state.id:
            known = state.id
            await note_pause(run, state, shared=shared)
        if state.state_details.pause_reschedule:
            raise Pause(state=state)
        await asyncio.sleep(Settings().control_seconds)
    if known is not None:
        async with open_database() as database:
            if await _is_its_own(database, run):
                await mirror(database, run.ref, prefect_state="Running")
        if shared:
            await let_others_go_on(run)


async def note_pause(run: OpenedRun, state: State[Any], *, shared: bool) -> None:
    """Write down that the run is paused. Prefect ends the process of a suspended one by itself.

    Args:
        run: the run.
        state: how Prefect calls it.
        shared: other senders work on the run, which Prefect's pause does not reach: it is paused
            in the ledger, where they look. A pause of one of those stops that one alone.
    """
    name = state.name or "Paused"
    get_run_logger().info("%s in Prefect: nothing is sent until it is resumed", name)
    async with open_database() as database:
        if await _is_its_own(database, run):
            await mirror(database, run.ref, prefect_state=name)
            if shared:
                await _steer(database, run, RunState.PAUSED)
    if state.state_details.pause_reschedule:
        await forget_process()


async def let_others_go_on(run: OpenedRun) -> None:
    """Take back the pause that :func:`note_pause` wrote for the others; no other one."""
    async with open_database() as database:
        async with database.read() as session:
            row = await find_run(session, str(run.ref.id))
        own = row.flow_run_id == current_flow_run().id
        if own and row.state == RunState.PAUSED and row.state_reason == PAUSED_IN_PREFECT:
            await _steer(database, run, RunState.OPEN)


async def _steer(database: Database, run: OpenedRun, state: RunState) -> None:
    with suppress(ConflictError):  # an operator was quicker, or it is over
        await set_run_state(
            database, run.ref.id, state, reason=PAUSED_IN_PREFECT, actor=PREFECT_ACTOR
        )


async def _is_its_own(database: Database, run: OpenedRun) -> bool:
    """Whether this is the run's own flow, and not another sender's."""
    async with database.read() as session:
        row = await find_run(session, str(run.ref.id))
    return row.flow_run_id == current_flow_run().id


async def _paused_state() -> State[Any] | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return _if_paused((await read_flow_run()).state)
    except (TimeoutError, *AWAY):
        return None


def _if_paused(state: State[Any] | None) -> State[Any] | None:
    return state if state is not None and state.is_paused() else None


async def forget_process() -> None:
    """Take this process off Prefect's record of the run, before it leaves the run waiting.

    Prefect would leave a cancel of the waiting run to the worker that started the process, which
    knows it no more: Cancelling for ever.
    """
    async with get_client() as client:
        await client.request(  # update_flow_run cannot set it to nothing
            "PATCH",
            "/flow_runs/{id}",
            path_params={"id": current_flow_run().id},
            json={"infrastructure_pid": None},
        )
