"""The flow ``campaign``: one run of one campaign, from its audience to its report."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.delivery.press import Press
from ignition_ext.errors import IgnitionError
from tasks.await_due import await_due
from tasks.await_time import name_in_time
from tasks.close_run import close_run, fail_run
from tasks.database import one_database
from tasks.fall_back import expect_fallback, fall_back
from tasks.keep_time import keep_time
from tasks.live_progress import LiveProgress
from tasks.load_campaign import load_campaign
from tasks.make_way import make_way
from tasks.mirror_state import mirror_state
from tasks.open_run import open_run
from tasks.preflight import preflight
from tasks.preview_campaign import preview_campaign
from tasks.send_batch import send_batch
from tasks.show_ending import show_ending
from tasks.skip_run import skip_run
from tasks.snapshot_audience import snapshot_audience
from tasks.start_companion import start_companion
from tasks.start_senders import start_senders, withdraw_senders
from tasks.take_slots import take_slots
from tasks.take_step import first_step, next_step


@flow(
    name="campaign",
    flow_run_name=name_in_time,
    persist_result=False,
    on_completion=[mirror_state],
    on_failure=[mirror_state],
    on_crashed=[mirror_state],
    on_cancellation=[mirror_state],
)
async def campaign(parameters: CampaignParameters) -> State[Any]:
    """Send a campaign to its audience, every message accounted for.

    Retrying a run continues it: only what is still sendable is sent. Cancelling it stops the
    sending within seconds and accounts for the rest as cancelled.

    Args:
        parameters: Which campaign, and how much of it.
    """
    async with one_database():
        return await _send(parameters)


async def _send(parameters: CampaignParameters) -> State[Any]:
    try:
        plan = await load_campaign(parameters)
        if not plan.allowed_here:
            return show_ending(await skip_run(plan, plan.why_not_here))
        if parameters.dry_run:
            return show_ending(await preview_campaign(plan))
        if (ending := await keep_time(plan)) is not None:
            return show_ending(ending)
        expected = await preflight(plan)
        async with take_slots(plan):
            run = await open_run(plan, expected)
            if (ending := await make_way(plan, run)) is not None:
                return show_ending(ending)
            progress = LiveProgress(plan.label)
            await snapshot_audience(plan, run, expected)
            await expect_fallback(plan, run)
            companion = await start_companion(plan, run)
            if run.in_steps:
                await first_step(plan, run)
            if plan.senders > 1:
                await start_senders(plan, run)
            with Press() as press:
                while not (batch := await send_batch(plan, run, progress, press)).over:
                    if run.in_steps:
                        batch = await next_step(plan, run, batch)
                    await await_due(plan, run, batch)
            if plan.senders > 1:
                await withdraw_senders(run)
            companion = await fall_back(plan, run, companion)
            if companion is not None:
                beside = CampaignParameters(campaign=plan.reference, leg=companion)
                await campaign(beside, return_state=True)
            return show_ending(await close_run(plan, run))
    except IgnitionError as error:
        return show_ending(await fail_run(parameters.campaign, error))
