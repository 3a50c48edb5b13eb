"""Starts the flow runs that drain a run beside its own flow, and withdraws those not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from ignition_ext.campaigns.parameters import SenderParameters
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.waiting import count_due
from ignition_ext.ledger.run_rows import read_run
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.orchestration.senders import (
    WORTH_A_SENDER,
    run_tag,
    sender_deployment,
    senders_wanted,
)
from tasks.current_run import current_flow_run
from tasks.database import open_database
from tasks.prefect_control import AWAY, let_others_go_on

NOT_BEGUN = (StateType.SCHEDULED,)
ALIVE = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED)


@task(cache_policy=NO_CACHE, persist_result=False)
async def start_senders(plan: CampaignPlan, run: OpenedRun, *, wave: int = 0) -> int:
    """Ask Prefect for the senders that the campaign wants and the run does not have yet.

    The run's own flow is the first of them, so that it gets on where no worker has room for
    another. Without Prefect, or without the deployment, it goes on alone.

    Args:
        plan: the campaign.
        run: which run of it.
        wave: of a run in steps, which one: those of the step before may have ended.

    Returns how many were asked for.
    """
    if plan.senders == 1:
        return 0
    await let_others_go_on(run)
    most = plan.senders * WORTH_A_SENDER
    async with open_database() as database:
        waiting = await count_due(database, run.ref, most=most)
    numbers = range(2, senders_wanted(plan.senders, waiting) + 1)
    started = 0
    try:
        async with get_client() as client:
            known = {_number(one) for one in await _senders(client, run, ALIVE)}
            extra = await _job_variables(client)
        for number in numbers:
            if number not in known:
                await _start(plan, run, number, wave, extra)
                started += 1
    except ObjectNotFound:
        get_run_logger().warning(
            "there is no deployment %s, this run has one sender. Run: prefect deploy --all",
            sender_deployment(plan.channel),
        )
    except AWAY as error:
        get_run_logger().warning("no more senders can be started: %s", error)
    get_run_logger().info("%d senders were started beside this one", started)
    return started


async def _start(
    plan: CampaignPlan,
    run: OpenedRun,
    number: int,
    wave: int,
    job_variables: dict[str, Any],
) -> None:
    async with open_database() as database, database.read() as session:
        name = (await read_run(session, run.ref.id)).flow_run_name
    definition = plan.stored.definition
    parameters = SenderParameters(
        campaign=plan.reference,
        run_id=run.ref.id,
        number=number,
        version=plan.stored.version,
        template_version_id=plan.template_version_id,
    )
    await arun_deployment(
        sender_deployment(plan.channel),
        parameters={"parameters": parameters.model_dump(mode="json")},
        flow_run_name=f"{name} sender {number}",
        timeout=0,
        tags=[
            f"tenant:{definition.tenant}",
            f"channel:{definition.channel}",
            f"campaign:{definition.name}",
            run_tag(run.ref.id),
        ],
        idempotency_key=f"{run.ref.id}-{run.prefect_attempts}-{wave}-{number}",
        job_variables=job_variables or None,
    )


async def _job_variables(client: PrefectClient) -> dict[str, Any]:
    """What the operator set for the run's own process; its senders need the same."""
    flow_run = current_flow_run()
    found: dict[str, Any] = {}
    if flow_run.deployment_id is not None:
        with suppress(ObjectNotFound):
            found |= (await client.read_deployment(flow_run.deployment_id)).job_variables or {}
    own: Mapping[str, Any] = flow_run.job_variables or {}
    return found | dict(own)


@task(cache_policy=NO_CACHE, persist_result=False)
async def withdraw_senders(run: OpenedRun) -> int:
    """End the senders that no worker had room for, now that the run is over.

    They would only find nothing to do. Returns how many.
    """
    ended: State[Any] = Completed(
        name="Skipped", message="The run was over before a worker had room for this sender."
    )
    withdrawn = 0
    try:
        async with get_client() as client:
            for one in await _senders(client, run, NOT_BEGUN):
                await client.set_flow_run_state(one.id, ended)
                withdrawn += 1
    except AWAY as error:
        get_run_logger().warning("senders that are not needed were not withdrawn: %s", error)
    return withdrawn


async def _senders(
    client: PrefectClient, run: OpenedRun, types: Sequence[StateType]
) -> list[FlowRun]:
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[run_tag(run.ref.id)]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
        )
    )
    return [one for one in found if one.id != current_flow_run().id]


def _number(flow_run: FlowRun) -> int:
    parameters = flow_run.parameters.get("parameters", {})
    return int(parameters.get("number", 0))
