"""Sees to it that a campaign's runs overlap only as its file says."""

from __future__ import annotations

from typing import assert_never

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.campaigns.definition import Overlap
from ignition_ext.database import Database
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import ConflictError
from ignition_ext.ledger.overlap import give_way, in_the_way
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.orchestration.mirror import PREFECT_ACTOR, cancel_run
from ignition_ext.orchestration.runs import cancel
from ignition_ext.settings import Settings
from ignition_ext.values import RunState
from tasks.database import open_database
from tasks.show_ending import Ending, EndingKind

NEWER = "a newer run of the campaign began"


async def make_way(plan: CampaignPlan, run: OpenedRun) -> Ending | None:
    """Skip this run, or cancel the others, where another run of the campaign is under way.

    A run that has its audience already goes on: it was retried, or comes back from a wait. One that
    another flow run of the same time has ended stays as it ended.
    """
    if run.state in (RunState.COMPLETED, RunState.FAILED):
        message = f"another flow run for the same time has the run {run.ref.id}: {run.state}"
        return Ending(kind=EndingKind.SKIPPED, message=message)
    overlap = plan.stored.definition.on_overlap
    if run.snapshot_done or overlap is Overlap.QUEUE:
        return None
    return await look_for_others(overlap, run)


@task(cache_policy=NO_CACHE, persist_result=False)
async def look_for_others(overlap: Overlap, run: OpenedRun) -> Ending | None:
    """Look whether other runs of the campaign are under way, and do what its file says then."""
    async with open_database() as database:
        match overlap:
            case Overlap.QUEUE:
                return None
            case Overlap.SKIP:
                actor = Settings().actor or PREFECT_ACTOR
                reason = await give_way(database, run.ref, actor=actor)
                return Ending(kind=EndingKind.SKIPPED, message=reason) if reason else None
            case Overlap.CANCEL_RUNNING:
                return await _cancel_others(database, run)
            case _:
                assert_never(overlap)


async def _cancel_others(database: Database, run: OpenedRun) -> Ending | None:
    older, superseded = await in_the_way(database, run.ref)
    if superseded:
        await cancel_run(database, run.ref, reason=NEWER)
        return Ending(kind=EndingKind.CANCELLED, message=NEWER)
    async with get_client() as client:
        for other in older:
            get_run_logger().info("cancelling the run %s, which is under way", other)
            try:
                await cancel(database, client, str(other), actor=NEWER)
            except ConflictError:
                continue  # it has just ended
    return None
