"""Ends a run that is not for this environment."""

from __future__ import annotations

from ignition_ext.delivery.plan import CampaignPlan
from tasks.show_ending import Ending, EndingKind


def skip_run(plan: CampaignPlan) -> Ending:
    """Nothing was wrong and nothing was done."""
    allowed = ", ".join(plan.stored.definition.environments)
    return Ending(
        kind=EndingKind.SKIPPED,
        message=f"{plan.reference} is for {allowed}; IGNITION_ENVIRONMENT is {plan.environment}.",
    )
