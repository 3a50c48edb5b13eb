"""Warm workers beside each other: who waits for a slot, who comes first, what a lost one leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Scheduled

from ignition_ext.devtools.probe_project import Project, wait_until
from ignition_ext.devtools.stack import PrefectServer, WarmWorker
from ignition_ext.orchestration.pools import create_queues

SCRIPT = "flows/probe.py:probe"
pytestmark = pytest.mark.timeout(900)


def slots_taken(client: SyncPrefectClient, deployment: UUID) -> float:
    """How many slots of a deployment's limit are held."""
    limit = client.read_deployment(deployment).global_concurrency_limit
    assert limit is not None
    return limit.active_slots


def test_who_comes_second_waits_and_no_lost_worker_keeps_a_slot(
    prefect_server: PrefectServer, elsewhere: Project, client: SyncPrefectClient
) -> None:
    """What ``on_overlap: queue`` is in Prefect, with one worker killed and one child."""
    deployment = elsewhere.deploy(SCRIPT, concurrency_limit=1)
    workers = [WarmWorker(prefect_server, elsewhere.pool, limit=2) for _ in range(2)]
    with workers[0], workers[1]:
        first = elsewhere.run(deployment, "until")
        holder = first.facts()["worker"]
        second = elsewhere.run(deployment)
        wait_until(lambda: second.state.name == "AwaitingConcurrencySlot")
        assert first.state.is_running()

        lost, left = sorted(workers, key=lambda worker: worker.worker_name != holder)
        lost.kill()
        Path(f"{first.out}.go").touch()

        assert first.state_type() is StateType.COMPLETED
        client.set_flow_run_state(second.id, Scheduled())  # it would look again in half a minute
        assert second.state_type() is StateType.COMPLETED
        assert second.facts()["worker"] == left.worker_name

        third = elsewhere.run(deployment, "wait")
        os.kill(third.facts()["pid"], signal.SIGKILL)
        assert third.state_type() is StateType.CRASHED
        assert elsewhere.run(deployment).state_type() is StateType.COMPLETED
        wait_until(lambda: slots_taken(client, deployment) == 0)


def test_the_queues_are_served_in_their_order(
    prefect_server: PrefectServer, elsewhere: Project
) -> None:
    """High before default before low, whoever came first, when a worker has room again."""

    async def make_queues() -> None:
        async with get_client() as client:
            await create_queues(client, elsewhere.pool)

    asyncio.run(make_queues())
    deployment = elsewhere.deploy(SCRIPT)
    with WarmWorker(prefect_server, elsewhere.pool, limit=1):
        busy = elsewhere.run(deployment, "until")
        busy.facts()
        runs = {
            queue: elsewhere.run(deployment, work_queue_name=queue)
            for queue in ("low", "default", "high")
        }
        Path(f"{busy.out}.go").touch()
        ended = {queue: run.ended() for queue, run in runs.items()}

    assert {run.state_type for run in ended.values()} == {StateType.COMPLETED}
    assert sorted(ended, key=lambda queue: began(ended[queue])) == ["high", "default", "low"]


def began(flow_run: FlowRun) -> float:
    """When a run began."""
    assert flow_run.start_time is not None
    return flow_run.start_time.timestamp()
