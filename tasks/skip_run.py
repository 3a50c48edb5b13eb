"""Ends a run that has a reason not to send."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.ledger.skips import skip_run as skip_in_ledger
from ignition_ext.orchestration.events import CampaignEvent, tell
from ignition_ext.orchestration.mirror import PREFECT_ACTOR, SKIPPED
from ignition_ext.settings import Settings
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.open_run import run_request
from tasks.show_ending import Ending, EndingKind


@task(cache_policy=NO_CACHE, persist_result=False)
async def skip_run(plan: CampaignPlan, reason: str) -> Ending:
    """Write down that the run was skipped and why: nothing was wrong and nothing was sent."""
    flow_run = current_flow_run()
    async with open_database() as database:
        row = await skip_in_ledger(
            database,
            run_request(plan, flow_run),
            reason=reason,
            actor=Settings().actor or PREFECT_ACTOR,
            started_at=flow_run.start_time or datetime.now(UTC),
            prefect_state=SKIPPED,
        )
    get_run_logger().info("%s is skipped: %s", plan.reference, reason)
    tell(
        CampaignEvent.SKIPPED,
        reference=plan.reference,
        channel=plan.channel,
        run_id=row.id,
        flow_run_id=flow_run.id,
        reason=reason,
    )
    return Ending(kind=EndingKind.SKIPPED, message=reason)
