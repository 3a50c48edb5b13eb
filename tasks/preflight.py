"""Goes through everything that a run would do, before the first run of a campaign's version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_never

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from ignition_ext.costs.sums import Cost
from ignition_ext.delivery.finding import Severity
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.preflight import ChannelBlock, Preflight, check_campaign
from ignition_ext.delivery.preflight_report import preflight_markdown
from ignition_ext.errors import NotFoundError
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration.database_block import resolve_database
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, RunId, RunRef, RunState, TenantId, new_id
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.live_progress import artifact_key
from tasks.load_channel import load_smpp_gateway, load_smtp_server
from tasks.prepare_sender import run_facts


async def preflight(plan: CampaignPlan) -> Cost | None:
    """Check a version that has not run yet; one that has, and a resumed run, is let go at once.

    Returns:
        What the run would cost; None where it was not checked, or nothing is known of prices.

    Raises:
        IgnitionError: the run should not begin; the message says what to mend.
    """
    wanted = Settings().preflight
    if wanted == "never" or (wanted == "first" and plan.has_run) or await _has_begun():
        return None
    return (await check_version(plan)).found.cost


async def _has_begun() -> bool:
    """Whether this flow run has its run already: it was checked before that was opened."""
    async with open_database() as database, database.read() as session:
        try:
            run = await find_run(session, str(current_flow_run().id))
        except NotFoundError:
            return False
    return run.state != RunState.SKIPPED


@task(name="preflight", cache_policy=NO_CACHE, persist_result=False)
async def check_version(plan: CampaignPlan) -> Preflight:
    """Render every message, check every address, ask the server; send and store nothing.

    Raises:
        IgnitionError: the run should not begin; the message says what to mend.
    """
    checked = await run_preflight(plan)
    logger = get_run_logger()
    for one in checked.findings:
        if one.severity is Severity.WARNING:
            logger.warning("pre-flight: %s. %s", one.text, one.mend)
    if not checked.would_run:
        await show_preflight(checked)
    checked.require()
    logger.info("pre-flight: %s", checked.headline)
    return checked


async def run_preflight(plan: CampaignPlan, *, samples: int = 0) -> Preflight:
    """The pre-flight of this flow run's campaign, with the blocks of this Prefect server."""
    flow_run = current_flow_run()
    begin = flow_run.expected_start_time or datetime.now(UTC)
    run = RunRef(
        id=RunId(new_id()), run_at=begin, tenant_id=TenantId(plan.stored.campaign.tenant_id)
    )
    block, envelope_from = await _block(plan)
    async with open_database() as database:
        return await check_campaign(
            database,
            plan,
            block,
            envelope_from=envelope_from,
            run=run_facts(run),
            begin=begin,
            resolve_block=resolve_database,
            samples=samples,
        )


async def show_preflight(checked: Preflight) -> None:
    """Make its page."""
    await acreate_markdown_artifact(
        markdown=preflight_markdown(checked),
        key=artifact_key("preview", checked.reference),
        description=f"What a run of {checked.reference} would send.",
    )


async def _block(plan: CampaignPlan) -> tuple[ChannelBlock, str | None]:
    name = plan.stored.definition.block
    match plan.channel:
        case Channel.EMAIL:
            server = await load_smtp_server(name)
            return server, server.envelope_from
        case Channel.SMS:
            return await load_smpp_gateway(name), None
        case _:
            assert_never(plan.channel)
