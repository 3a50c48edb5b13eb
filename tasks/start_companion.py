"""Lets the second channel of a run begin, once its audience is there."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.database import Database
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger.legs import companions_of, is_under_way
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.orchestration.legs import end_cancelled_legs, start_leg, start_waiting_legs
from ignition_ext.orchestration.mirror import PREFECT_ACTOR
from ignition_ext.orchestration.revival import RECONCILE_ACTOR
from ignition_ext.settings import Settings
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import AWAY

BESIDE = "its lead has its audience"


async def start_companion(plan: CampaignPlan, run: OpenedRun) -> UUID | None:
    """Let the run's companion begin, if it has one.

    Returns:
        The companion, where this flow run has no deployment: then no worker takes flow runs for
        it, and it has to be worked on here. None where others do, or there is nothing to do.
    """
    if plan.leg is not None or len(plan.legs) == 1:
        return None
    return await ask_for_companion(run)


@task(cache_policy=NO_CACHE, persist_result=False)
async def ask_for_companion(run: OpenedRun) -> UUID | None:
    """Ask Prefect for the flow run of the run's second channel, once for each companion.

    Without Prefect, or without the deployment, the run goes on with its own channel, and the flow
    reconcile asks later.
    """
    logger = get_run_logger()
    async with open_database() as database:
        companion = await _companion(database, run)
        if companion is None:
            return None
        if current_flow_run().deployment_id is None:
            return companion
        actor = Settings().actor or PREFECT_ACTOR
        try:
            async with get_client() as client:
                begun = await start_leg(database, client, companion, reason=BESIDE, actor=actor)
        except IgnitionError as error:
            logger.warning("%s %s", error.message, error.mend)
        except AWAY as error:
            logger.warning("the second channel cannot be started yet: %s", error)
        else:
            if begun:
                logger.info("the second channel, run %s, was started", companion)
    return None


async def _companion(database: Database, run: OpenedRun) -> UUID | None:
    async with database.read() as session:
        legs = await companions_of(session, run.ref.id)
    return next((leg.id for leg in legs if is_under_way(leg)), None)


@task(cache_policy=NO_CACHE, persist_result=False)
async def start_legs() -> Mapping[str, str]:
    """Start second channels that nobody has started, and end those that were cancelled."""
    async with open_database() as database, get_client() as client:
        done = await start_waiting_legs(database, client, actor=RECONCILE_ACTOR)
        return done | await end_cancelled_legs(database, client)
