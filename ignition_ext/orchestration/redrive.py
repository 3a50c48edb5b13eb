"""Sending again what failed, once the reason is mended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from ignition_ext.database import Database
from ignition_ext.errors import ConflictError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.late_results import unaccounted_runs
from ignition_ext.ledger.revival import CONTINUED, take_revival
from ignition_ext.ledger.runs import find_run
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.mirror import reference_of
from ignition_ext.orchestration.runs import find_flow_run
from ignition_ext.values import UNDER_WAY, FailureClass, RunState

REASON = "messages were redriven"
CLOSING_SECONDS = 60.0
"""What a run takes at most from its last batch to its end in Prefect: a report and some words."""
LOOK_SECONDS = 0.5


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
    ledger, ref = open_ledger(database), reference_of(run)
    messages = await ledger.redrive(ref, failure_class=failure_class, actor=actor)
    run, flow_run = await _closed(database, client, run, flow_run)
    # A redrive may have been cut off between the ledger and Prefect; said again, it is made up for.
    left = run.state == RunState.COMPLETED and await ledger.is_open(ref)
    started = bool(messages or left) and await _start(database, client, run, flow_run, actor)
    return Redriven(run_id=run.id, flow_run_id=run.flow_run_id, messages=messages, started=started)


async def start_redriven(
    database: Database, client: PrefectClient, *, within: timedelta, limit: int, actor: str
) -> dict[str, str]:
    """Start runs again that were closed as completed with messages to send; what was done, by name.

    A redrive that came after a run's last look had found it running.
    """
    async with database.read() as session:
        rows = await unaccounted_runs(session, RunState.COMPLETED, within=within, limit=limit)
    done: dict[str, str] = {}
    for run in rows:
        flow_run = await find_flow_run(client, str(run.flow_run_id))
        if flow_run is None or not await open_ledger(database).is_open(reference_of(run)):
            continue
        if await _start(database, client, run, flow_run, actor):
            done[run.flow_run_name or str(run.id)] = "started again for what was redriven"
    return done


async def _closed(
    database: Database, client: PrefectClient, run: CampaignRun, flow_run: FlowRun
) -> tuple[CampaignRun, FlowRun]:
    """Both as they stand now; one that has no more batches is waited for, until Prefect knows."""
    until = time.monotonic() + CLOSING_SECONDS
    while True:
        async with database.read() as session:
            run = await find_run(session, str(run.id))
        flow_run = await find_flow_run(client, str(run.flow_run_id)) or flow_run
        is_closing = flow_run.state is not None and flow_run.state.is_running()
        if not is_closing or run.state in UNDER_WAY or time.monotonic() > until:
            return run, flow_run
        await asyncio.sleep(LOOK_SECONDS)


async def _start(
    database: Database, client: PrefectClient, run: CampaignRun, flow_run: FlowRun, actor: str
) -> bool:
    """What Retry does in the UI: the flow's body runs again, and sends what is sendable."""
    if flow_run.state is None or not flow_run.state.is_final():
        return False
    if not await take_revival(
        database, run, becomes="Scheduled", reason=REASON, actor=actor, action=CONTINUED
    ):
        return False
    await client.set_flow_run_state(flow_run.id, Scheduled(message=REASON), force=True)
    return True
