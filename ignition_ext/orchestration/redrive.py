"""Sending again what failed, once the reason is mended."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.states import Scheduled

from ignition_ext.database import Database
from ignition_ext.errors import ConflictError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration.mirror import reference_of
from ignition_ext.orchestration.runs import find_flow_run
from ignition_ext.values import FailureClass, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What a redrive did.

    Attributes:
        messages: how many are pending again.
        started: whether Prefect was asked to start the run again; a run that is under way needs
            no start.
    """

    run_id: UUID
    flow_run_id: UUID | None
    messages: int
    started: bool


async def redrive(
    database: Database,
    client: PrefectClient,
    reference: str,
    *,
    failure_class: FailureClass | None,
    actor: str,
) -> Redriven:
    """Turn a run's failed messages back into pending ones, and let the run go on with them.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it was cancelled, or Prefect has its flow run no more; nothing is changed.
    """
    async with database.read() as session:
        run = await find_run(session, reference)
    if run.state == RunState.CANCELLED:
        raise ConflictError(
            f"the run {run.id} was cancelled.",
            mend="Retry it in Prefect first, if it shall go on after all.",
        )
    flow_run = await find_flow_run(client, str(run.flow_run_id))
    if flow_run is None or flow_run.state is None:
        raise ConflictError(
            f"Prefect has no flow run for the run {run.id} any more, so nobody would send.",
            mend="Start a new run of the campaign for these recipients.",
        )
    messages = await open_ledger(database).redrive(
        reference_of(run), failure_class=failure_class, actor=actor
    )
    starts = bool(messages) and flow_run.state.is_final()
    if starts:
        # What Retry does in the UI: the flow's body runs again, and sends what is sendable.
        await client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
    return Redriven(run_id=run.id, flow_run_id=run.flow_run_id, messages=messages, started=starts)
