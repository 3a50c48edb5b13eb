"""Text messages instead of emails that did not get through: as a run ends, and later."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.campaigns.legs import CampaignChannel, FallbackSpec
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger.fallback_runs import (
    Terms,
    begin_fallback,
    find_fallback,
    let_fall_back,
)
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.orchestration.fallback import fall_back_everywhere, send_texts, words
from ignition_ext.orchestration.mirror import PREFECT_ACTOR
from ignition_ext.orchestration.revival import RECONCILE_ACTOR
from ignition_ext.settings import Settings
from ignition_ext.values import Channel
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import AWAY
from tasks.start_companion import ask_for_companion


def falls_back(plan: CampaignPlan) -> bool:
    """Whether this is the run of the emails of a campaign that falls back to text messages."""
    whole = plan.whole
    return plan.leg is None and whole is not None and whole.channel is CampaignChannel.FALLBACK


async def expect_fallback(plan: CampaignPlan, run: OpenedRun) -> None:
    """Let reconcile look for emails of this run that do not get through, from now on."""
    if falls_back(plan):
        await note_terms(plan, run)


@task(cache_policy=NO_CACHE, persist_result=False)
async def note_terms(plan: CampaignPlan, run: OpenedRun) -> None:
    """Write down what the campaign says of emails that do not get through."""
    async with open_database() as database:
        await begin_fallback(database, run.ref, terms_of(plan))


def terms_of(plan: CampaignPlan) -> Terms:
    """What the campaign file says of emails that do not get through, or leaves to us."""
    assert plan.whole is not None
    spec = plan.whole.fallback or FallbackSpec()
    delivery = plan.whole.leg(Channel.SMS).delivery
    return Terms(
        causes=frozenset(spec.on),
        within=spec.within,
        guarantee=delivery.guarantee,
        runs_for=delivery.deadline,
    )


async def fall_back(plan: CampaignPlan, run: OpenedRun, companion: UUID | None) -> UUID | None:
    """Send text messages instead of the emails that did not get through, before the run ends.

    Returns:
        The companion, where it has to be worked on here; as it was given for any other campaign.
    """
    if not falls_back(plan):
        return companion
    await look_through(run)
    return await ask_for_companion(run)


@task(cache_policy=NO_CACHE, persist_result=False)
async def look_through(run: OpenedRun) -> int:
    """Put text messages into the run's second channel; returns how many emails they stand for.

    A companion that has ended, or waits, goes on with them.
    """
    logger = get_run_logger()
    actor = Settings().actor or PREFECT_ACTOR
    async with open_database() as database:
        async with database.read() as session:
            one = await find_fallback(session, run.ref.id)
        if one is None:
            return 0
        found = await let_fall_back(database, one, actor=actor)
        if found.total:
            logger.info("%s", words(found))
        if current_flow_run().deployment_id is not None:
            try:
                async with get_client() as client:
                    await send_texts(database, client, found, one, actor=actor)
            except (IgnitionError, *AWAY) as error:
                logger.warning("the second channel goes on when reconcile sees it: %s", error)
    return found.total


@task(cache_policy=NO_CACHE, persist_result=False)
async def fall_back_late() -> Mapping[str, str]:
    """Send text messages instead of emails that did not get through since the last minute."""
    async with open_database() as database, get_client() as client:
        return await fall_back_everywhere(database, client, actor=RECONCILE_ACTOR)
