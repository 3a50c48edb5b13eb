"""Carries out a dry run: a pre-flight whose report is all that comes of it."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from ignition_ext.delivery.finding import Severity
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.preflight_legs import would_run
from tasks.preflight import run_preflight, show_preflight
from tasks.show_ending import Ending, EndingKind

SAMPLES = 3
"""Messages that the report shows as they would go out."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def preview_campaign(plan: CampaignPlan) -> Ending:
    """Render every message and report what would be sent; sends and stores nothing."""
    legs = await run_preflight(plan, samples=SAMPLES)
    await show_preflight(legs)
    if would_run(legs):
        told = ", ".join(leg.headline for leg in legs)
        return Ending(kind=EndingKind.COMPLETED, message=f"dry run: {told}")
    found = [one for leg in legs for one in leg.findings]
    errors = [one.text for one in found if one.severity is Severity.ERROR] or ["nobody to write to"]
    return Ending(kind=EndingKind.FAILED, message=f"dry run: refused: {'; '.join(errors)}")
