"""``prefect.yaml``: what it says, and that it deploys against a real server."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow

from ignition_ext.devtools.stack import PrefectServer, scrubbed_environment
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.pools import POOLS, QUEUES, SENDERS

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = {
    "campaign/any": ("default", "default"),
    "campaign/sms": ("sms", "default"),
    "sender/email": ("email", SENDERS),
    "sender/sms": ("sms", SENDERS),
    "bounces/bounces": ("default", "default"),
    "receipts/receipts": ("sms", "default"),
    "reconcile/reconcile": ("default", "default"),
    "outcomes/outcomes": ("default", "default"),
}
"""With the pool and the queue of each."""


@pytest.fixture
def project() -> Any:
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_nodes_run_the_installed_package(project: Any) -> None:
    """Pull is empty, not missing: or else Prefect stores the deployer's own folder."""
    assert project["pull"] == []
    assert all("pull" not in deployment for deployment in project["deployments"])


def test_every_entrypoint_is_a_module_and_a_flow(project: Any) -> None:
    """Dotted entrypoints import; what they name is a flow with a form or without parameters."""
    for deployment in project["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert ":" not in deployment["entrypoint"]
        assert isinstance(getattr(importlib.import_module(module), name), Flow)


def test_every_pool_is_one_that_init_makes(project: Any) -> None:
    """After ignition init nothing is missing."""
    assert {deployment["work_pool"]["name"] for deployment in project["deployments"]} <= set(POOLS)


async def test_a_pool_has_its_queues_in_their_order(prefect: PrefectServer) -> None:
    """What is under way comes before what has not begun; heartbeats come often enough."""
    async with prefect_client() as client:
        for pool in POOLS:
            queues = await client.read_work_queues(work_pool_name=pool)
            by_priority = sorted(queues, key=lambda queue: queue.priority or 0)
            assert [queue.name for queue in by_priority] == list(QUEUES)
            made = await client.read_work_pool(pool)
            environment = made.base_job_template["variables"]["properties"]["env"]
            assert environment["default"] == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_deploying_all_works_from_anywhere(
    prefect: PrefectServer, tmp_path: Path, times: int
) -> None:
    """From a folder with nothing but the file; no question is asked and no path is stored."""
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    environment = scrubbed_environment() | {
        name: value for name, value in os.environ.items() if name.startswith("PREFECT_")
    }
    for _ in range(times):
        deploying = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
            cwd=tmp_path,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await deploying.communicate()
        assert deploying.returncode == 0, output.decode()

    async with prefect_client() as client:
        for name, place in DEPLOYMENTS.items():
            found = await client.read_deployment_by_name(name)
            assert (found.path, found.pull_steps) == (None, [])
            assert (found.work_pool_name, found.work_queue_name) == place
        kept = await client.read_deployment_by_name("reconcile/reconcile")
    assert [schedule.active for schedule in kept.schedules] == [True]
