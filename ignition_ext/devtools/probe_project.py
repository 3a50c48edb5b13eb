"""A project of somebody else's, with flows that tell how they were run: for tests of workers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType

WAIT_SECONDS = 150.0
"""For anything that happens in the end, on a machine where everything waits for its turn."""
FILES = {
    # Packages of the names of ours, which must not be mixed up with them.
    "flows/__init__.py": "",
    "tasks/__init__.py": "WHOSE = 'theirs'\n",
    "flows/probe.py": """
import asyncio, json, os, sys, time
from pathlib import Path
from prefect import flow, get_run_logger, runtime
import tasks

def remember(kind):
    def hook(flow, flow_run, state):
        Path(flow_run.parameters["out"]).with_suffix("." + kind).write_text(state.message or "")
    return hook

@flow(on_cancellation=[remember("cancelled")], on_crashed=[remember("crashed")])
async def probe(out: str, act: str = "end"):
    facts = {
        "pid": os.getpid(), "group": os.getpgid(0), "parent": os.getppid(), "cwd": os.getcwd(),
        "tasks": tasks.WHOSE, "file": __file__, "mark": os.environ.get("MARK"),
        "worker": os.environ.get("PREFECT__WORKER_NAME"), "version": VERSION,
        "preloaded": getattr(sys.modules.get("preloaded_things"), "NUMBER", None),
        "run": str(runtime.flow_run.id), "stdin": os.readlink("/proc/self/fd/0"),
    }
    get_run_logger().info("probing %s", act)
    with open(out + ".starts", "a") as starts:
        starts.write("once ")
    Path(out + ".part").write_text(json.dumps(facts))
    os.replace(out + ".part", out)
    if act == "fail":
        raise ValueError("as was asked")
    while act == "wait" or (act == "until" and not Path(out + ".go").exists()):
        await asyncio.sleep(0.1)

@flow(timeout_seconds=0.5)
def hurried(out: str, act: str = ""):
    Path(out).write_text("{}")
    while True:
        time.sleep(0.05)

VERSION = 1
""",
}


def write_project(folder: Path) -> None:
    """Put the project's files there."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@dataclass(frozen=True)
class Project:
    """Somebody's folder of flows, deployed to the worker's pool.

    Attributes:
        folder: where it is.
        pool: of the worker.
    """

    folder: Path
    pool: str
    client: SyncPrefectClient

    def deploy(self, entrypoint: str, **settings: Any) -> UUID:
        """A deployment that takes its code from the folder."""
        step = "prefect.deployments.steps.set_working_directory"
        values = {"pull_steps": [{step: {"directory": str(self.folder)}}], **settings}
        name = entrypoint.rpartition(":")[2].rpartition(".")[2]
        flow_id = self.client.create_flow_from_name(name)
        return self.client.create_deployment(
            flow_id=flow_id,
            name=uuid4().hex,
            entrypoint=entrypoint,
            work_pool_name=self.pool,
            **values,
        )

    def run(self, deployment: UUID, act: str = "end", **settings: Any) -> Run:
        """A flow run, due now."""
        out = self.folder / f"out-{uuid4().hex}"
        parameters = {"out": str(out), "act": act}
        flow_run = self.client.create_flow_run_from_deployment(
            deployment, parameters=parameters, **settings
        )
        return Run(flow_run.id, out, self.client)


@dataclass(frozen=True)
class Run:
    """A flow run of the project."""

    id: UUID
    out: Path
    client: SyncPrefectClient

    def facts(self) -> Mapping[str, Any]:
        """What the flow said of itself when it began."""
        wait_until(self.out.exists)
        facts: Mapping[str, Any] = json.loads(self.out.read_text())
        return facts

    def ended(self) -> FlowRun:
        """The run in its final state."""
        wait_until(lambda: self.state.is_final())
        return self.client.read_flow_run(self.id)

    def state_type(self) -> StateType:
        """How it ended."""
        self.ended()
        return self.state.type

    @property
    def state(self) -> State[Any]:
        """Its state now."""
        state = self.client.read_flow_run(self.id).state
        assert state is not None
        return state


def wait_until(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Look until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.05)
