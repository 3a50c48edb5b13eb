"""Starts runs again whose process died, and tells Prefect the end of those that had one.

Prefect's own automation for zombie flows can only call them crashed. Ignition knows more: whether
somebody still works on the run, and that starting it again sends nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed
from sqlmodel import col, select

from ignition_ext.database import Database
from ignition_ext.ledger.revival import crashed_runs, is_worked_on, revivals, take_revival
from ignition_ext.models import Campaign, CampaignRun
from ignition_ext.orchestration.deployments import FLOW
from ignition_ext.orchestration.heartbeats import last_heartbeats, silent_since, usual_interval
from ignition_ext.orchestration.mirror import mirror_state, unsettled_runs
from ignition_ext.orchestration.senders import FLOW as SENDER
from ignition_ext.values import RunState

RUNS_AT_ONCE = 200
"""Prefect answers at most this many flow runs a request; the rest waits for the next time."""
CRASH_SETTLES = timedelta(seconds=60)
"""Prefect reports one crash twice, 12 to 36 s apart; the second report would hit a new process."""
CRASHED_WITHIN = timedelta(days=1)
RECONCILE = RECONCILE_ACTOR = "reconcile"
BEGINS_AGAIN = "It had not begun to send, and begins again"
"""What Prefect's history of a run says each time; they are counted there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviver:
    """What is needed to look after runs.

    Attributes:
        database: Ignition's.
        client: of the Prefect server.
        now: the server's time.
        most: times that a run is started again, at most.
    """

    database: Database
    client: PrefectClient
    now: datetime
    most: int

    async def runs(self) -> dict[str, str]:
        """Look after the campaigns' runs; what was done, by the flow run's name."""
        done: dict[str, str] = {}
        for run, flow_run in await self._suspects():
            reason = await self._why_dead(run, flow_run)
            if reason is None:
                continue
            words = await self._look_after(run, flow_run, reason)
            if words:
                done[flow_run.name] = words
        return done

    async def unopened(self) -> dict[str, str]:
        """Let those begin again whose process died before they stood in the ledger.

        They read their campaign, waited for their time or looked through all messages; nothing was
        sent. Several at once may have one begin twice, which costs a look: it opens one run.
        """
        done: dict[str, str] = {}
        for flow_run in await self._unopened():
            reason = await self._why_gone(flow_run)
            if reason is not None and (words := await self._begin_again(flow_run, reason)):
                done[flow_run.name] = words
        return done

    async def _unopened(self) -> list[FlowRun]:
        """Flow runs of this database's campaigns that are under way, or crashed, without a run."""
        async with self.database.read() as session:
            known = select(Campaign.prefect_deployment_id).where(col(Campaign.deleted_at).is_(None))
            deployments = set(await session.exec(known)) - {None}
        if not deployments:
            return []
        lately = FlowRunFilterEndTime(after_=self.now - CRASHED_WITHIN)
        found: list[FlowRun] = []
        for types, ended in (
            ([StateType.RUNNING, StateType.PENDING], None),
            ([StateType.CRASHED], lately),
        ):
            found += await self.client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)),
                    end_time=ended,
                ),
                limit=RUNS_AT_ONCE,
            )
        own = {one.id: one for one in found if one.deployment_id in deployments}
        async with self.database.read() as session:
            opened = select(CampaignRun.flow_run_id).where(col(CampaignRun.flow_run_id).in_(own))
            rows = set(await session.exec(opened))
        return [flow_run for key, flow_run in own.items() if key not in rows]

    async def _begin_again(self, flow_run: FlowRun, reason: str) -> str:
        states = await self.client.read_flow_run_states(flow_run.id)
        before = sum(BEGINS_AGAIN in (state.message or "") for state in states)
        if before >= self.most:
            if flow_run.state is None or flow_run.state.type is StateType.CRASHED:
                return ""  # said before
            words = f"{reason} It began again {self.most} times: look why, then retry it."
            await self.client.set_flow_run_state(flow_run.id, Crashed(message=words), force=True)
            return f"left as crashed: {words}"
        words = f"{reason} {BEGINS_AGAIN}, {before + 1} of {self.most} times."
        await self._start(flow_run, AwaitingRetry(scheduled_time=self.now, message=words))
        return f"began again, {before + 1} of {self.most} times: {reason}"

    async def senders(self) -> dict[str, str]:
        """Call senders crashed whose process is gone; others have taken over what they held.

        So are dead runs of ``reconcile`` itself, which the next ones make up for.
        """
        done: dict[str, str] = {}
        types = [StateType.RUNNING, StateType.PENDING]
        found = await self.client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[SENDER, RECONCILE])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
            ),
            limit=RUNS_AT_ONCE,
        )
        for flow_run in found:
            since = await self._silent_since(flow_run)
            if since is not None:
                state: State[Any] = Crashed(message=_gone(since))
                await self.client.set_flow_run_state(flow_run.id, state, force=True)
                done[flow_run.name] = "its process was gone; others do its work"
        return done

    async def _suspects(self) -> list[tuple[CampaignRun, FlowRun]]:
        """Runs that are not known to have ended in Prefect, or that crashed there."""
        async with self.database.read() as session:
            rows = await crashed_runs(session, within=CRASHED_WITHIN, limit=RUNS_AT_ONCE)
        unsettled = await unsettled_runs(self.database, limit=RUNS_AT_ONCE)
        by_id = {row.flow_run_id: row for row in (*rows, *unsettled) if row.flow_run_id}
        ids = list(by_id)
        found: list[FlowRun] = []
        for start in range(0, len(ids), RUNS_AT_ONCE):
            page = FlowRunFilterId(any_=ids[start : start + RUNS_AT_ONCE])
            found += await self.client.read_flow_runs(
                flow_run_filter=FlowRunFilter(id=page), limit=RUNS_AT_ONCE
            )
        return [(by_id[flow_run.id], flow_run) for flow_run in found]

    async def _why_dead(self, run: CampaignRun, flow_run: FlowRun) -> str | None:
        """What is wrong with the run's process; None where nothing is, or not for sure yet."""
        if flow_run.state is not None and flow_run.state.type is not StateType.CRASHED:
            async with self.database.read() as session:
                if await is_worked_on(session, run.id):
                    return None
        return await self._why_gone(flow_run)

    async def _why_gone(self, flow_run: FlowRun) -> str | None:
        """The same by what Prefect knows alone."""
        state = flow_run.state
        if state is None:
            return None
        if state.type is StateType.CRASHED:
            settled = self.now - state.timestamp > CRASH_SETTLES
            return f"it crashed: {state.message}" if settled else None
        since = await self._silent_since(flow_run)
        return None if since is None else _gone(since)

    async def _silent_since(self, flow_run: FlowRun) -> datetime | None:
        usual = usual_interval()
        state = flow_run.state
        if state is None or silent_since(flow_run, (), usual, now=self.now) is None:
            return None  # not even without any heartbeat
        beats = []
        if state.type is StateType.RUNNING:
            beats = list(await last_heartbeats(self.client, flow_run.id, now=self.now))
        return silent_since(flow_run, beats, usual, now=self.now)

    async def _look_after(self, run: CampaignRun, flow_run: FlowRun, reason: str) -> str:
        if (end := _end_of(run)) is not None:
            await self._set(flow_run, end)
            return f"it had ended as {run.state}, and Prefect did not know"
        async with self.database.read() as session:
            before = await revivals(session, run)
        if before >= self.most:
            return await self._give_up(flow_run, reason)
        words = f"{reason} It continues, {before + 1} of {self.most} times."
        state: State[Any] = AwaitingRetry(scheduled_time=self.now, message=words)
        if not await take_revival(
            self.database, run, becomes="AwaitingRetry", reason=reason, actor=RECONCILE_ACTOR
        ):
            return ""
        await self._start(flow_run, state)
        return f"started again, {before + 1} of {self.most} times: {reason}"

    async def _start(self, flow_run: FlowRun, state: State[Any]) -> None:
        await self.client.set_flow_run_state(flow_run.id, state, force=True)
        await self.client.request(  # update_flow_run cannot set it to nothing
            "PATCH",
            "/flow_runs/{id}",
            path_params={"id": flow_run.id},
            json={"infrastructure_pid": None},
        )

    async def _give_up(self, flow_run: FlowRun, reason: str) -> str:
        """Leave it to an operator, whose Retry continues it."""
        if flow_run.state is None or flow_run.state.type is StateType.CRASHED:
            return ""  # said before
        words = f"{reason} It was started again {self.most} times: look why, then retry it."
        await self._set(flow_run, Crashed(message=words))
        return f"left as crashed: {words}"

    async def _set(self, flow_run: FlowRun, state: State[Any]) -> None:
        await self.client.set_flow_run_state(flow_run.id, state, force=True)
        await mirror_state(self.database, flow_run.id, state)


def _end_of(run: CampaignRun) -> State[Any] | None:
    """What Prefect should say of a run that has ended in the ledger."""
    match RunState(run.state):
        case RunState.COMPLETED:
            return Completed(message=run.state_reason)
        case RunState.FAILED:
            return Failed(message=run.state_reason)
        case RunState.CANCELLED:
            return Cancelled(message=run.state_reason)
        case RunState.SKIPPED:
            return Completed(name="Skipped", message=run.state_reason)
        case RunState.OPEN | RunState.PAUSED:
            return None


def _gone(since: datetime) -> str:
    return f"Its process is gone: nothing was heard of it since {since:%H:%M:%S} UTC."
