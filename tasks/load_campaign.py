"""Looks up everything that a run needs and checks it, before anything is changed."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from ignition_ext.audience import open_source
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.database import Database
from ignition_ext.delivery.plan import CampaignPlan, plan_campaign, renderer_of
from ignition_ext.delivery.preflight import require_columns
from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger.run_rows import read_run
from ignition_ext.orchestration.database_block import resolve_database
from ignition_ext.settings import Settings
from ignition_ext.values import Channel
from tasks.database import open_database
from tasks.load_channel import load_smpp_gateway, load_smtp_server


@task(cache_policy=NO_CACHE, persist_result=False)
async def load_campaign(parameters: CampaignParameters) -> CampaignPlan:
    """Find campaign, template, block, attachments and audience, and check that they fit.

    Raises:
        IgnitionError: something is missing or does not fit; the message says what to do.
    """
    async with open_database() as database:
        plan = await read_plan(database, parameters)
        if plan.leg is not None and not plan.allowed_here:
            raise ConfigurationError(
                plan.why_not_here,
                mend="Give the pool workers of that environment, and retry.",
            )
        if not plan.allowed_here:
            return plan  # its block and audience may well not exist in this environment
        renderer_of(plan, run={})  # compiles each file
        match plan.channel:
            case Channel.EMAIL:
                await load_smtp_server(plan.stored.definition.block)
            case Channel.SMS:
                await load_smpp_gateway(plan.stored.definition.block)
        if plan.leg is None:
            await _check_audience(database, plan)
    return plan


async def read_plan(
    database: Database, parameters: CampaignParameters, *, channel: Channel | None = None
) -> CampaignPlan:
    """The plan of the leg that the flow run works on; nothing is checked but that it is there.

    Args:
        database: Ignition's.
        parameters: of the flow run.
        channel: of another leg; None for the flow run's own.

    Raises:
        IgnitionError: something is missing; the message says what to do.
    """
    async with database.read() as session:
        limit = parameters.limit
        if parameters.leg is not None:
            run = await read_run(session, parameters.leg)
            channel, limit = Channel(run.channel), run.max_messages
        return await plan_campaign(
            session,
            parameters.campaign,
            environment=Settings().environment,
            limit=limit,
            channel=channel,
            leg=parameters.leg,
        )


async def _check_audience(database: Database, plan: CampaignPlan) -> None:
    async with open_source(
        database,
        tenant=plan.stored.tenant,
        spec=plan.stored.definition.audience,
        base_path=plan.stored.base_path,
        resolve_block=resolve_database,
        rejects=None,
    ) as source:
        require_columns(plan, source.columns)
