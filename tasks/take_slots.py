"""Holds a slot of each of Prefect's concurrency limits that a run needs, while it works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.responses import SetStateStatus
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
    concurrency,
)
from prefect.exceptions import ObjectNotFound, Pause
from prefect.states import AwaitingRetry

from ignition_ext.campaigns.definition import Overlap
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger.legs import legs_alone, legs_of_others
from ignition_ext.models import CampaignRun
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import AWAY, forget_process

SHORT_WAIT_SECONDS = 5.0
"""How long a run waits in its process; then it gives the worker's slot back."""
COME_AGAIN = timedelta(seconds=30)
"""As Prefect does for a deployment's own limit."""


@asynccontextmanager
async def take_slots(plan: CampaignPlan) -> AsyncIterator[None]:
    """Hold a slot of the tenant's limit and of each that the campaign names, all or none.

    A run's second channel needs none: it counts as one with its lead, and where that has ended,
    other runs leave it the lead's place.

    The server takes slots back five minutes after it has last heard of this process: while it is
    away the run goes on, and others may begin beside it.

    Raises:
        ConfigurationError: there is no limit of that name.
        Pause: all slots are taken, and the run was put off.
    """
    if plan.leg is not None:
        yield
        return
    while what := await _second_channel(plan):
        await _come_again(what)
        await asyncio.sleep(SHORT_WAIT_SECONDS)
    names = await _limits(plan)
    if not names:
        yield
        return
    slots = await _enter(names)
    while slots is None:
        await _come_again(f"waits for a slot of {', '.join(names)}")
        slots = await _enter(names)
    try:
        yield
    finally:
        with suppress(*AWAY):  # the server takes back what it does not hear of
            await slots.__aexit__(None, None, None)


async def _enter(names: list[str]) -> AbstractAsyncContextManager[None] | None:
    """The slots, taken; None while there are none."""
    slots = concurrency(
        names,
        timeout_seconds=SHORT_WAIT_SECONDS,
        strict=True,
        raise_on_lease_renewal_failure=False,
    )
    try:
        await slots.__aenter__()
    except AcquireConcurrencySlotTimeoutError:
        return None
    except ConcurrencySlotAcquisitionError as error:
        raise ConfigurationError(
            f"no slot of {', '.join(names)} can be had: {error}",
            mend="Run: prefect global-concurrency-limit ls",
        ) from error
    return slots


async def _limits(plan: CampaignPlan) -> list[str]:
    names = list(plan.stored.definition.concurrency)
    if not names and plan.tenants_runs is None:
        return []
    async with get_client() as client:
        for name in names:
            await _require(client, name)
        if plan.tenants_runs is not None:
            own = _tenants_limit(plan)
            await client.upsert_global_concurrency_limit_by_name(own, plan.tenants_runs)
            names.append(own)
    return names


async def _require(client: PrefectClient, name: str) -> None:
    try:
        await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"there is no concurrency limit {name!r} on the Prefect server.",
            mend=f"Run: prefect global-concurrency-limit create {name!r} --limit N",
        ) from error


async def _second_channel(plan: CampaignPlan) -> str:
    """What of an earlier run's second channel is in the way; empty where nothing is."""
    campaign = plan.stored.campaign
    queues = len(plan.legs) > 1 and plan.stored.definition.on_overlap is Overlap.QUEUE
    if not queues and plan.tenants_runs is None:
        return ""
    assert campaign.id is not None
    async with open_database() as database, database.read() as session:
        others: Sequence[CampaignRun] = ()
        if queues:
            others = await legs_of_others(
                session, campaign_id=campaign.id, flow_run_id=current_flow_run().id
            )
        alone = 0
        if plan.tenants_runs is not None:
            alone = await legs_alone(session, tenant_id=campaign.tenant_id)
    if others:
        return f"waits for the run {others[0].flow_run_name or others[0].id}"
    if alone and plan.tenants_runs is not None:
        async with get_client() as client:
            taken = await _taken(client, _tenants_limit(plan))
        if taken + alone >= plan.tenants_runs:
            return f"waits for {alone} second channels of the tenant's runs"
    return ""


def _tenants_limit(plan: CampaignPlan) -> str:
    return f"ignition-tenant-{plan.stored.tenant.name}"


async def _taken(client: PrefectClient, name: str) -> int:
    try:
        return (await client.read_global_concurrency_limit_by_name(name)).active_slots
    except ObjectNotFound:
        return 0


async def _come_again(what: str) -> None:
    """Put the run off, and give the worker's slot back; a run without a deployment waits here."""
    flow_run = current_flow_run()
    get_run_logger().info("%s", what)
    if flow_run.deployment_id is None:
        return
    async with get_client() as client:
        answer: OrchestrationResult[Any] = await client.set_flow_run_state(
            flow_run.id, AwaitingRetry(scheduled_time=datetime.now(UTC) + COME_AGAIN, message=what)
        )
    if answer.status is SetStateStatus.ACCEPT and answer.state is not None:
        await forget_process()
        raise Pause(state=answer.state)
