"""Many runs through one warm worker while its children are killed.

Twenty-four in the suite; ``make worker-soak`` is the long form.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun, StateType

from ignition_ext.devtools.probe_project import Project, Run, wait_until
from ignition_ext.devtools.stack import WarmWorker

RUNS, KILLED = (200, 20) if os.environ.get("WORKER_SOAK") else (24, 3)
FAILED_OF = 7
"""Every so manieth run that is not killed fails."""
PAGE = 100
"""Prefect gives 200 at most."""
GROWTH_MB = 4.0
"""More than the fork server's lists of children take, less than one run would leave behind."""


def anonymous_mb(pid: int) -> float:
    """Memory that a process has for itself."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


class Watch:
    """Looks at all runs of a deployment at once, and kills those that wait for it."""

    def __init__(self, client: SyncPrefectClient, deployment: UUID) -> None:
        self._client, self._deployment = client, deployment
        self.killed: set[UUID] = set()

    def flow_runs(self) -> list[FlowRun]:
        """All of them, as the server has them."""
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[self._deployment]))
        pages = [
            self._client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=start)
            for start in range(0, RUNS + 1, PAGE)
        ]
        return [flow_run for page in pages for flow_run in page]

    def all_over(self, victims: list[Run], count: int) -> bool:
        """Kill whoever began to wait; whether every run is in a final state."""
        for run in victims:
            if run.id not in self.killed and run.out.exists():
                os.kill(run.facts()["pid"], signal.SIGKILL)
                self.killed.add(run.id)
        runs = self.flow_runs()
        return len(runs) == count and all(r.state and r.state.is_final() for r in runs)


@pytest.mark.timeout(60 * RUNS)
def test_each_of_many_runs_is_found_in_the_right_final_state(
    worker: WarmWorker, project: Project, client: SyncPrefectClient
) -> None:
    """Completed, Failed or Crashed as it went, each in a process of its own and only once."""
    deployment = project.deploy("flows/probe.py:probe")
    first = project.run(deployment)
    first.ended()
    server = first.facts()["parent"]
    before = anonymous_mb(server)
    every = RUNS // KILLED
    acts = [
        "wait" if not n % every else "fail" if not n % FAILED_OF else "end" for n in range(RUNS)
    ]
    runs = [project.run(deployment, act) for act in acts]
    watch = Watch(client, deployment)
    victims = [run for run, act in zip(runs, acts, strict=True) if act == "wait"]

    wait_until(lambda: watch.all_over(victims, RUNS + 1), 50 * RUNS)

    expected = {"end": StateType.COMPLETED, "fail": StateType.FAILED, "wait": StateType.CRASHED}
    found = {flow_run.id: flow_run.state_type for flow_run in watch.flow_runs()}
    assert found == {
        first.id: StateType.COMPLETED,
        **{run.id: expected[act] for run, act in zip(runs, acts, strict=True)},
    }
    assert len(watch.killed) == KILLED
    facts = [run.facts() for run in runs]
    assert len({fact["pid"] for fact in facts}) == RUNS
    assert {Path(f"{run.out}.starts").read_text() for run in runs} == {"once "}
    if {fact["parent"] for fact in facts} == {server}:  # no file of ours was edited meanwhile
        assert anonymous_mb(server) - before < GROWTH_MB
