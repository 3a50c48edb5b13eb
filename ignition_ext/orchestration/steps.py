"""Runs that stopped by themselves, in Prefect: suspended with a form, and what was answered.

The form is Prefect's own (``RunInput``): its schema is stored beside the flow run, and the state
names it, so that Resume in the UI asks, and a resume without an answer is refused by the server. A
run of a deployment is suspended and holds no worker's slot; one without keeps its process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.input import RunInput
from prefect.input.run_input import keyset_from_base_key, keyset_from_paused_state
from prefect.states import Paused, Suspended
from pydantic import Field
from sqlmodel import col, select

from ignition_ext.campaigns.step_report import question, stop_markdown
from ignition_ext.campaigns.step_rows import read_steps
from ignition_ext.campaigns.step_stops import (
    NOTE_LENGTH,
    Decision,
    DecisionKind,
    announce_question,
    decide,
    is_stopped,
    judge,
)
from ignition_ext.database import Database
from ignition_ext.errors import ConflictError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.run_rows import run_ref
from ignition_ext.ledger.runs import find_run, mirror
from ignition_ext.models import CampaignRun, RunSteps
from ignition_ext.orchestration.mirror import campaign_of, cancel_run
from ignition_ext.orchestration.runs import find_flow_run, wake
from ignition_ext.values import UNDER_WAY, RunState

RUNS_AT_ONCE = 200
"""As many as Prefect tells of in one answer; the rest waits for the next minute."""
NOT_FOUND, CONFLICT = 404, 409


class Approval(RunInput):
    """What whoever presses Resume on a stopped run has to say."""

    decision: Literal["continue", "cancel"] = Field(
        title="Decision",
        description="continue: send the rest. cancel: end the run, its unsent messages become"
        " cancelled.",
    )
    note: str = Field(
        default="",
        title="Note",
        max_length=NOTE_LENGTH,
        description="Why, and who you are: it stands in the audit log.",
    )
    keep_watching: bool = Field(
        default=True,
        title="Stop again at the same rates",
        description="Measured from now on. Off: nothing stops this run by itself any more.",
    )

    def as_decision(self) -> Decision:
        """The same for the ledger."""
        return Decision(
            kind=DecisionKind(self.decision), note=self.note, keep_watching=self.keep_watching
        )


async def publish(
    database: Database, client: PrefectClient, run: CampaignRun, steps: RunSteps
) -> None:
    """Leave the page that says why the run stopped, as an artifact of its flow run."""
    reference, _ = await campaign_of(database, run)
    await client.create_artifact(
        ArtifactCreate(
            key=f"stop-{reference.replace('/', '-')}",
            type="markdown",
            description=f"Why {reference} stopped.",
            data=stop_markdown(reference, steps),
            flow_run_id=run.flow_run_id,
        )
    )


async def ask(
    database: Database, client: PrefectClient, run: CampaignRun, steps: RunSteps, flow_run: FlowRun
) -> None:
    """Suspend the flow run with the form; one without a deployment is paused where it is.

    Asked twice it is the same form: its key counts the run's stops.
    """
    reference, _ = await campaign_of(database, run)
    words = f"stopped: {steps.stop.get('reason', '')}. Resume asks what to do."
    kind = Paused if flow_run.deployment_id is None else Suspended
    state: State[Any] = kind(pause_key=_key(steps), message=words)
    keys = keyset_from_paused_state(state)
    state.state_details.run_input_keyset = {str(name): key for name, key in keys.items()}
    form = Approval.with_initial_data(description=question(reference, steps))
    try:
        await form.asave(keys, flow_run.id)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != CONFLICT:
            raise
    # Forced: a run that waits for its next step is scheduled, and Prefect suspends running ones.
    await client.set_flow_run_state(flow_run.id, state, force=True)
    await announce_question(database, run, steps)


async def answer(client: PrefectClient, flow_run_id: UUID, steps: RunSteps) -> Decision | None:
    """What was answered to the run's last stop; None while nobody has."""
    for kind in ("suspended", "paused"):
        keys = keyset_from_base_key(f"{kind}-{_key(steps)}")
        try:
            given = await client.read_flow_run_input(flow_run_id, keys["response"])
        except PrefectHTTPStatusError as error:
            if error.response.status_code != NOT_FOUND:
                raise
            continue
        return Approval.model_validate_json(given).as_decision()
    return None


def _key(steps: RunSteps) -> str:
    return f"stop-{steps.stops}"


async def carry_out(
    database: Database, run: CampaignRun, decision: Decision, *, actor: str
) -> None:
    """Let a stopped run go on in the ledger, or end it there.

    Raises:
        ConflictError: it does not wait for a decision.
    """
    ref = run_ref(run)
    await decide(database, open_ledger(database), ref, decision, actor=actor)
    if decision.kind is DecisionKind.CANCEL:
        note = f": {decision.note}" if decision.note else ""
        reason = f"cancelled after it stopped by itself{note}"
        await cancel_run(database, ref, reason=reason, actor=actor)


async def require_decision(database: Database, reference: str) -> None:
    """Refuse to resume a run that waits for a decision: one has to say which.

    Raises:
        ConflictError: it stopped by itself.
        NotFoundError: there is no such run.
    """
    async with database.read() as session:
        run = await find_run(session, reference)
    steps = await read_steps(database, run.id)
    if steps is not None and is_stopped(steps, run.state):
        raise ConflictError(
            f"the run {run.id} {run.state_reason}; to resume it is to approve that.",
            mend=f"Run: ignition campaign approve {run.id} --continue --note WHY (or --cancel)",
        )


async def resume_in_prefect(client: PrefectClient, run: CampaignRun, decision: Decision) -> bool:
    """Let the flow run of an approved run start again; returns whether it had to."""
    flow_run = None
    if run.flow_run_id is not None:
        flow_run = await find_flow_run(client, str(run.flow_run_id))
    if flow_run is None or flow_run.state is None:
        return False
    if not flow_run.state.is_paused():
        return await wake(client, run)
    given = Approval(
        decision=decision.kind.value, note=decision.note, keep_watching=decision.keep_watching
    )
    await client.resume_flow_run(flow_run.id, run_input=given.model_dump())
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWatch:
    """Looks after runs in steps whose own process is not there to do it."""

    database: Database
    client: PrefectClient

    async def look(self) -> Mapping[str, str]:
        """Stop runs whose rates were reached while they waited; what was done, by flow run."""
        done: dict[str, str] = {}
        for run in await self._runs():
            words = await self._look_at(run)
            if words:
                done[run.flow_run_name or str(run.id)] = words
        return done

    async def _runs(self) -> list[CampaignRun]:
        query = (
            select(CampaignRun)
            .join(RunSteps, col(RunSteps.run_id) == col(CampaignRun.id))
            .where(
                col(CampaignRun.state).in_(UNDER_WAY),
                col(CampaignRun.flow_run_id).is_not(None),
            )
            .order_by(col(CampaignRun.created_at).desc())
            .limit(RUNS_AT_ONCE)
        )
        async with self.database.read() as session:
            return list(await session.exec(query))

    async def _look_at(self, run: CampaignRun) -> str:
        ledger, ref = open_ledger(self.database), run_ref(run)
        steps = await read_steps(self.database, run.id)
        assert steps is not None
        if steps.stop_if and steps.is_watched and run.state == RunState.OPEN:
            stopped = await judge(self.database, ledger, ref, await ledger.counts(ref))
            if stopped is not None:
                await publish(self.database, self.client, run, stopped)
                await self._ask_if_waiting(run, stopped)
                return f"stopped: {stopped.stop['reason']}"
        if is_stopped(steps, run.state):
            return await self._ask_if_waiting(run, steps)
        return await self._go_on(run, steps)

    async def _ask_if_waiting(self, run: CampaignRun, steps: RunSteps) -> str:
        """A run whose process is there suspends itself; one that only waits has none."""
        flow_run = await find_flow_run(self.client, str(run.flow_run_id))
        if flow_run is None or flow_run.state_name != "AwaitingRetry":
            return ""
        await ask(self.database, self.client, run, steps, flow_run)
        await mirror(self.database, run_ref(run), prefect_state="Suspended")
        return "waits for a decision"

    async def _go_on(self, run: CampaignRun, steps: RunSteps) -> str:
        """Start a run again that was approved while it was about to be suspended."""
        if run.state != RunState.OPEN or not steps.stops:
            return ""
        flow_run = await find_flow_run(self.client, str(run.flow_run_id))
        state = None if flow_run is None else flow_run.state
        if state is None or state.type is not StateType.PAUSED:
            return ""
        if state.state_details.pause_key != _key(steps):
            return ""  # an operator paused it
        given = Decision(kind=DecisionKind.CONTINUE, note="approved before it was suspended")
        await resume_in_prefect(self.client, run, given)
        return "goes on: it was approved"
