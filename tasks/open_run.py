"""Opens a campaign's run in the ledger, or finds the one that this flow run began before."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from ignition_ext.campaigns.step_rows import read_steps
from ignition_ext.costs.actual import store_cost
from ignition_ext.costs.card_store import pin_card
from ignition_ext.costs.sums import Cost
from ignition_ext.database import Database
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.ledger.runs import OpenedRun, RunRequest, find_run
from ignition_ext.ledger.runs import open_run as open_in_ledger
from ignition_ext.models import CostKind
from ignition_ext.orchestration.events import CampaignEvent, tell
from ignition_ext.orchestration.mirror import PREFECT_ACTOR, started
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, TenantId
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import AWAY


@task(cache_policy=NO_CACHE, persist_result=False)
async def open_run(plan: CampaignPlan, expected: Mapping[Channel, Cost]) -> OpenedRun:
    """Open the run in the ledger; a retried or resumed flow run finds its own again.

    Args:
        plan: the campaign.
        expected: what pre-flight found that the messages of each channel would cost.
    """
    flow_run = current_flow_run()
    request = run_request(plan, flow_run)
    async with open_database() as database:
        actor = Settings().actor or PREFECT_ACTOR
        run = await open_in_ledger(database, request, actor=actor)
        await pin_card(database, run.ref)
        if plan.channel in expected:
            await store_cost(database, run.ref, CostKind.ESTIMATE, expected[plan.channel])
        run = replace(run, in_steps=await _in_steps(database, plan, run))
        await started(database, run.ref, at=flow_run.start_time or datetime.now(UTC))
        async with database.read() as session:
            row = await find_run(session, str(run.ref.id))
    async with get_client() as client:
        name = row.flow_run_name
        if plan.leg is None:
            name = run_name(plan, row.scheduled_at or row.run_at)
        with suppress(*AWAY):  # it has the deployment's name then
            await client.set_flow_run_name(flow_run.id, name)
    logger = get_run_logger()
    if run.resumed:
        logger.info("%s: continuing run %s (attempt %d)", name, run.ref.id, run.prefect_attempts)
    else:
        logger.info("%s: run %s is open", name, run.ref.id)
    tell(
        CampaignEvent.STARTED,
        reference=plan.reference,
        channel=plan.channel,
        run_id=run.ref.id,
        flow_run_id=flow_run.id,
        attempt=run.prefect_attempts,
    )
    return run


async def _in_steps(database: Database, plan: CampaignPlan, run: OpenedRun) -> bool:
    """As its campaign says when it begins; one that has begun keeps its steps."""
    if not run.resumed or (plan.has_steps and not run.snapshot_done):
        return plan.has_steps
    return await read_steps(database, run.ref.id) is not None


def run_request(plan: CampaignPlan, flow_run: FlowRun) -> RunRequest:
    """What the ledger is to know of a run of that campaign."""
    campaign = plan.stored.campaign
    assert campaign.id is not None
    scheduled = flow_run.expected_start_time or datetime.now(UTC)
    return RunRequest(
        tenant_id=TenantId(campaign.tenant_id),
        campaign_id=campaign.id,
        campaign_version=plan.stored.version,
        template_version_id=plan.template_version_id,
        guarantee=plan.stored.definition.delivery.guarantee,
        max_messages=plan.limit,
        deadline=plan.stored.definition.delivery.deadline,
        time_limit=plan.stored.definition.time_limit,
        flow_run_id=flow_run.id,
        flow_run_name=run_name(plan, scheduled),
        scheduled_at=scheduled,
        channel=plan.channel,
        leg=plan.leg,
    )


def run_name(plan: CampaignPlan, at: datetime) -> str:
    """``acme/newsletter 2026-11-21 08:00``, in the campaign's zone."""
    return f"{plan.reference} {at.astimezone(ZoneInfo(plan.timezone)):%Y-%m-%d %H:%M}"
