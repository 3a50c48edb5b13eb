"""Carries out a dry run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, assert_never

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from ignition_ext.audience import open_source
from ignition_ext.channels.smpp import segment
from ignition_ext.delivery.envelopes import Workshop
from ignition_ext.delivery.plan import CampaignPlan, email_workshop, sms_workshop
from ignition_ext.delivery.preview import preview_markdown, preview_messages
from ignition_ext.values import Channel, RunId, RunRef, TenantId, new_id
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.live_progress import artifact_key
from tasks.load_channel import load_smpp_gateway, load_smtp_server
from tasks.prepare_sender import run_facts
from tasks.resolve_database import resolve_database
from tasks.show_ending import Ending, EndingKind


@task(cache_policy=NO_CACHE, persist_result=False)
async def preview_campaign(plan: CampaignPlan) -> Ending:
    """Render every message and report what would be sent; sends and stores nothing."""
    workshop, measure = await _workshop(plan)
    async with (
        open_database() as database,
        open_source(
            database,
            tenant=plan.stored.tenant,
            spec=plan.stored.definition.audience,
            base_path=plan.stored.base_path,
            resolve_block=resolve_database,
            rejects=None,
        ) as source,
    ):
        preview = await preview_messages(
            source.batches(), plan.channel, workshop, measure, limit=plan.limit
        )
        preview.rejected = source.stats.rejected
        preview.duplicates += source.stats.duplicates
    await acreate_markdown_artifact(
        markdown=preview_markdown(plan.reference, preview),
        key=artifact_key("preview", plan.reference),
        description=f"What a run of {plan.reference} would send.",
    )
    return Ending(kind=EndingKind.COMPLETED, message=preview.headline)


async def _workshop(plan: CampaignPlan) -> tuple[Workshop[Any], Callable[[Any], int]]:
    flow_run = current_flow_run()
    run = run_facts(
        RunRef(
            id=RunId(new_id()),
            run_at=flow_run.expected_start_time or datetime.now(UTC),
            tenant_id=TenantId(plan.stored.campaign.tenant_id),
        )
    )
    match plan.channel:
        case Channel.EMAIL:
            server = await load_smtp_server(plan.stored.definition.block)
            email = email_workshop(plan, run=run, envelope_from=server.envelope_from)
            return email, lambda envelope: len(envelope.content)
        case Channel.SMS:
            gateway = await load_smpp_gateway(plan.stored.definition.block)
            alphabet = gateway.default_alphabet
            sms = sms_workshop(plan, run=run)
            return sms, lambda envelope: len(segment(envelope.text, alphabet=alphabet).parts)
        case _:
            assert_never(plan.channel)
