"""Carries out a dry run: a pre-flight whose report is all that comes of it."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from ignition_ext.delivery.finding import Severity
from ignition_ext.delivery.plan import CampaignPlan
from tasks.preflight import run_preflight, show_preflight
from tasks.show_ending import Ending, EndingKind

SAMPLES = 3
"""Messages that the report shows as they would go out."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def preview_campaign(plan: CampaignPlan) -> Ending:
    """Render every message and report what would be sent; sends and stores nothing."""
    checked = await run_preflight(plan, samples=SAMPLES)
    await show_preflight(checked)
    if checked.would_run:
        return Ending(kind=EndingKind.COMPLETED, message=f"dry run: {checked.headline}")
    errors = [one.text for one in checked.findings if one.severity is Severity.ERROR]
    return Ending(kind=EndingKind.FAILED, message=f"dry run: refused: {'; '.join(errors)}")
