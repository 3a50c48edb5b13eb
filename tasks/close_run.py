"""Ends a run: its state in the ledger, its report, its event, and what Prefect shows."""

from __future__ import annotations

from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ignition_ext.database import Database
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.progress import summary
from ignition_ext.errors import IgnitionError, NotFoundError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.run_rows import run_ref
from ignition_ext.ledger.runs import OpenedRun, find_run
from ignition_ext.ledger.runs import close_run as close_in_ledger
from ignition_ext.orchestration.events import CampaignEvent, tell
from ignition_ext.orchestration.mirror import cancel_run
from ignition_ext.values import RunState
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.report_run import report_run
from tasks.show_ending import Ending, EndingKind


@task(cache_policy=NO_CACHE, persist_result=False)
async def close_run(plan: CampaignPlan, run: OpenedRun) -> Ending:
    """Close the run, write its report, and say in one line what became of the messages."""
    async with open_database() as database:
        ledger = open_ledger(database)
        async with database.read() as session:
            row = await find_run(session, str(run.ref.id))
        if row.state == RunState.CANCELLED:
            await cancel_run(database, run.ref, reason=row.state_reason)
            counts = await ledger.counts(run.ref)
            await report_run(database, plan.label, run.ref)
            message = f"{row.state_reason or 'cancelled'}: {summary(counts)}"
            return Ending(kind=EndingKind.CANCELLED, message=message)
        counts = await ledger.counts(run.ref)
        message = summary(counts)
        await close_in_ledger(database, run.ref, RunState.COMPLETED, message, counts)
        await report_run(database, plan.label, run.ref)
    tell(
        CampaignEvent.COMPLETED,
        reference=plan.reference,
        channel=plan.channel,
        run_id=run.ref.id,
        flow_run_id=current_flow_run().id,
        counts=counts,
    )
    return Ending(kind=EndingKind.COMPLETED, message=message)


async def fail_run(reference: str, error: IgnitionError) -> Ending:
    """End a run that cannot go on; what was not sent stays sendable, a retry continues it."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    get_run_logger().error(message)
    flow_run_id = current_flow_run().id
    try:
        async with open_database() as database:
            await _close_failed(database, reference, flow_run_id, message)
    except IgnitionError:
        # Not even the database is there, and that may be the very error: it is told below.
        get_run_logger().warning("the failure could not be written to the ledger")
    return Ending(kind=EndingKind.FAILED, message=message)


async def _close_failed(
    database: Database, reference: str, flow_run_id: UUID, message: str
) -> None:
    try:
        async with database.read() as session:
            run = await find_run(session, str(flow_run_id))
    except NotFoundError:
        return  # it failed before a run was opened: there is nothing to close
    ref = run_ref(run)
    counts = await open_ledger(database).counts(ref)
    await close_in_ledger(database, ref, RunState.FAILED, message, counts)
    label = reference if run.lead_run_id is None else f"{reference} {run.channel}"
    await report_run(database, label, ref)
    tell(
        CampaignEvent.FAILED,
        reference=reference,
        channel=run.channel,
        run_id=run.id,
        flow_run_id=flow_run_id,
        counts=counts,
        reason=message,
    )
