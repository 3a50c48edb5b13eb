"""Goes through everything that a run would do, before the first run of a campaign's version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import assert_never

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.costs.sums import Cost
from ignition_ext.database import Database
from ignition_ext.delivery.finding import Severity
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.preflight import ChannelBlock, Preflight, check_campaign
from ignition_ext.delivery.preflight_legs import legs_markdown, require_all, would_run
from ignition_ext.errors import NotFoundError
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration.database_block import resolve_database
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, RunId, RunRef, RunState, TenantId, new_id
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.live_progress import artifact_key
from tasks.load_campaign import read_plan
from tasks.load_channel import load_smpp_gateway, load_smtp_server
from tasks.prepare_sender import run_facts


async def preflight(plan: CampaignPlan) -> Mapping[Channel, Cost]:
    """Check a version that has not run yet; one that has, and a resumed run, is let go at once.

    Returns:
        What the messages of each channel would cost, where it was checked and prices are known.

    Raises:
        IgnitionError: the run should not begin; the message says what to mend.
    """
    wanted = Settings().preflight
    if plan.leg is not None:
        return {}  # the run that leads it looked at both
    if wanted == "never" or (wanted == "first" and plan.has_run) or await _has_begun():
        return {}
    legs = await check_version(plan)
    return {leg.found.channel: leg.found.cost for leg in legs if leg.found.cost is not None}


async def _has_begun() -> bool:
    """Whether this flow run has its run already: it was checked before that was opened."""
    async with open_database() as database, database.read() as session:
        try:
            run = await find_run(session, str(current_flow_run().id))
        except NotFoundError:
            return False
    return run.state != RunState.SKIPPED


@task(name="preflight", cache_policy=NO_CACHE, persist_result=False)
async def check_version(plan: CampaignPlan) -> Sequence[Preflight]:
    """Render every message, check every address, ask the server; send and store nothing.

    Of a campaign with two channels each is looked at, the one that leads first.

    Raises:
        IgnitionError: the run should not begin; the message says what to mend.
    """
    legs = await run_preflight(plan)
    logger = get_run_logger()
    for leg in legs:
        for one in leg.findings:
            if one.severity is Severity.WARNING:
                logger.warning("pre-flight: %s. %s", one.text, one.mend)
    if not would_run(legs):
        await show_preflight(legs)
    require_all(legs)
    for leg in legs:
        logger.info("pre-flight: %s", leg.headline)
    return legs


async def run_preflight(plan: CampaignPlan, *, samples: int = 0) -> Sequence[Preflight]:
    """The pre-flight of this flow run's campaign, with the blocks of this Prefect server."""
    flow_run = current_flow_run()
    begin = flow_run.expected_start_time or datetime.now(UTC)
    run = RunRef(
        id=RunId(new_id()), run_at=begin, tenant_id=TenantId(plan.stored.campaign.tenant_id)
    )
    checked = []
    async with open_database() as database:
        for leg in await _legs(database, plan):
            block, envelope_from = await _block(leg)
            checked.append(
                await check_campaign(
                    database,
                    leg,
                    block,
                    envelope_from=envelope_from,
                    run=run_facts(run),
                    begin=begin,
                    resolve_block=resolve_database,
                    samples=samples,
                )
            )
    return checked


async def _legs(database: Database, plan: CampaignPlan) -> Sequence[CampaignPlan]:
    """The plan and those of the campaign's other channels."""
    parameters = CampaignParameters(campaign=plan.reference, limit=plan.limit)
    others = [one for one in plan.legs if one is not plan.channel]
    return [plan, *[await read_plan(database, parameters, channel=one) for one in others]]


async def show_preflight(legs: Sequence[Preflight]) -> None:
    """Make its page."""
    reference = legs[0].reference
    await acreate_markdown_artifact(
        markdown=legs_markdown(legs),
        key=artifact_key("preview", reference),
        description=f"What a run of {reference} would send.",
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
