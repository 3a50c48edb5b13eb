"""Looks up the run that a sender helps with."""

from __future__ import annotations

from dataclasses import replace

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ignition_ext.campaigns.parameters import SenderParameters
from ignition_ext.delivery.plan import CampaignPlan, plan_campaign
from ignition_ext.ledger.run_rows import read_run, run_ref
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.models import RunSteps
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, RunState
from tasks.database import open_database


@task(cache_policy=NO_CACHE, persist_result=False)
async def join_run(parameters: SenderParameters) -> tuple[CampaignPlan, OpenedRun] | str:
    """The campaign and the run, or why there is nothing to do for a sender.

    Raises:
        NotFoundError: there is no such run, or no such campaign any more.
        IgnitionError: the campaign cannot be sent from this node; the message says why.
    """
    async with open_database() as database, database.read() as session:
        row = await read_run(session, parameters.run_id)
        if row.state != RunState.OPEN:
            return f"The run is {row.state}: there is nothing left for this sender."
        has_steps = await session.get(RunSteps, row.id) is not None
        plan = await plan_campaign(
            session,
            parameters.campaign,
            environment=Settings().environment,
            channel=Channel(row.channel) if row.channel else None,
            leg=row.id if row.lead_run_id is not None else None,
        )
    wanted = (parameters.version, parameters.template_version_id)
    if (plan.stored.version, plan.template_version_id) != wanted:
        return "The campaign was changed since the run began, which goes on with what it read."
    get_run_logger().info("helps with the run %s of %s", row.id, plan.reference)
    run = OpenedRun(
        ref=run_ref(row),
        state=RunState(row.state),
        snapshot_done=row.snapshot_at is not None,
        resumed=True,
        prefect_attempts=row.prefect_attempts,
        in_steps=has_steps,
    )
    return replace(plan, limit=row.max_messages), run
