"""What the process worker does, the warm worker does too."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

from ignition_ext.devtools.probe_project import Project, wait_until
from ignition_ext.devtools.stack import PrefectServer, WarmWorker

SCRIPT, MODULE = "flows/probe.py:probe", "flows.probe.probe"


def is_fork_server(pid: int) -> bool:
    """Whether that process is a worker's fork server."""
    return b"worker.forking" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("entrypoint", [SCRIPT, MODULE], ids=["script", "module"])
def test_a_project_with_packages_of_our_names_runs_its_own_code(
    worker: WarmWorker, project: Project, entrypoint: str
) -> None:
    """The child has neither our packages nor our environment, and a group of its own."""
    deployment = project.deploy(entrypoint, job_variables={"env": {"MARK": "of the deployment"}})
    run = project.run(deployment)

    facts = run.facts()

    assert run.state_type() is StateType.COMPLETED
    assert (facts["tasks"], facts["mark"]) == ("theirs", "of the deployment")
    assert facts["cwd"] == str(project.folder)
    assert facts["group"] == facts["pid"]
    assert is_fork_server(facts["parent"])
    assert (facts["run"], facts["worker"]) == (str(run.id), worker.worker_name)
    assert facts["stdin"] == os.devnull


def test_what_a_flow_logs_reaches_the_server(
    worker: WarmWorker, project: Project, client: SyncPrefectClient
) -> None:
    """As with any worker: the flow's lines and the worker's own."""
    run = project.run(project.deploy(SCRIPT))
    run.ended()
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))

    def lines() -> str:
        return "\n".join(log.message for log in client.read_logs(wanted))

    wait_until(lambda: "probing end" in lines() and "submitting flow run" in lines())


def test_a_working_directory_of_the_deployment_is_the_childs(
    worker: WarmWorker, project: Project, tmp_path: Path
) -> None:
    """Without pull steps the flow starts where the job variables say."""
    deployment = project.deploy(
        MODULE,
        pull_steps=[],
        job_variables={
            "working_dir": str(tmp_path),
            "env": {"PYTHONPATH": str(project.folder)},
        },
    )

    assert project.run(deployment).facts()["cwd"] == str(tmp_path)


def test_a_variable_that_an_interpreter_reads_at_its_start_has_its_effect(
    worker: WarmWorker, project: Project
) -> None:
    """Such a run gets an interpreter of its own, in the place of the child."""
    (project.folder / "hashed.py").write_text(
        "from pathlib import Path\nimport sys\nfrom prefect import flow\n\n@flow\n"
        "def hashed(out: str, act: str):\n"
        "    Path(out).write_text(str(sys.flags.hash_randomization))\n"
    )
    deployment = project.deploy("hashed.py:hashed", job_variables={"env": {"PYTHONHASHSEED": "0"}})
    run = project.run(deployment)

    assert run.state_type() is StateType.COMPLETED
    assert run.out.read_text() == "0"


def test_a_module_of_the_project_comes_before_a_preloaded_one_of_its_name(
    worker: WarmWorker, project: Project
) -> None:
    """A new interpreter would have found the project's first, and so does a child."""
    folder = project.folder / f"other-{uuid4().hex}"
    folder.mkdir()
    (folder / "jinja2.py").write_text("WHOSE = 'the project'\n")
    (folder / "shadow.py").write_text(
        "from pathlib import Path\nimport jinja2\nfrom prefect import flow\n\n@flow\n"
        "def shadow(out: str, act: str):\n    Path(out).write_text(jinja2.WHOSE)\n"
    )
    step = "prefect.deployments.steps.set_working_directory"
    deployment = project.deploy("shadow.py:shadow", pull_steps=[{step: {"directory": str(folder)}}])
    run = project.run(deployment)

    assert run.state_type() is StateType.COMPLETED
    assert run.out.read_text() == "the project"


def test_a_run_after_a_deploy_has_the_new_code(worker: WarmWorker, project: Project) -> None:
    """Neither the project's flow nor a preloaded module is ever the former one."""
    deployment = project.deploy(SCRIPT)
    source, library = project.folder / "flows/probe.py", Path(worker.environment["PYTHONPATH"])
    before = project.run(deployment).facts()
    source.write_text(source.read_text().replace("VERSION = 1", "VERSION = 2"))
    (library / "preloaded_things.py").write_text("NUMBER = 22\n")

    after = project.run(deployment).facts()

    assert (before["version"], before["preloaded"]) == (1, 1)
    assert (after["version"], after["preloaded"]) == (2, 22)
    assert before["parent"] != after["parent"]


def test_a_run_begins_also_where_no_fork_server_can_be_made(
    worker: WarmWorker, project: Project
) -> None:
    """A deploy went wrong: the run starts as with the process worker."""
    library = Path(worker.environment["PYTHONPATH"]) / "preloaded_things.py"
    before = library.read_text()
    library.write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    try:
        run = project.run(project.deploy(SCRIPT))
        assert run.state_type() is StateType.COMPLETED
        assert run.facts()["parent"] == worker.pid
    finally:
        library.write_text(before)


def test_a_cancelled_run_is_cancelled_with_its_hook(
    worker: WarmWorker, project: Project, client: SyncPrefectClient
) -> None:
    """The flow's process ends and its hook runs."""
    run = project.run(project.deploy(SCRIPT), "wait")
    pid = run.facts()["pid"]

    client.set_flow_run_state(run.id, Cancelling())

    assert run.state_type() is StateType.CANCELLED
    wait_until(run.out.with_suffix(".cancelled").exists)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_its_health_pages_say_what_it_runs(
    worker: WarmWorker, project: Project, client: SyncPrefectClient
) -> None:
    """The flow run and its process while it runs, and nothing of it afterwards."""
    run = project.run(project.deploy(SCRIPT), "wait")
    pid = run.facts()["pid"]
    pages = f"http://127.0.0.1:{worker.health_port}/health"

    def jobs() -> dict[str, int]:
        found = httpx.get(f"{pages}/jobs", trust_env=False, timeout=60).json()["jobs"]
        return {job["flow_run_id"]: job["process_id"] for job in found}

    live = httpx.get(f"{pages}/live", trust_env=False, timeout=60)
    assert (live.status_code, live.json()["process_id"]) == (200, worker.pid)
    assert jobs()[str(run.id)] == pid

    client.set_flow_run_state(run.id, Cancelling())
    run.ended()
    wait_until(lambda: str(run.id) not in jobs())


def test_a_time_limit_ends_a_flow_that_does_not_end(worker: WarmWorker, project: Project) -> None:
    """Its alarm reaches the child's main thread."""
    state = project.run(project.deploy("flows/probe.py:hurried")).ended().state

    assert state is not None
    assert (state.type, state.name) == (StateType.FAILED, "TimedOut")


def test_a_killed_child_is_reported_with_its_signal(worker: WarmWorker, project: Project) -> None:
    """At once, saying whether it was for want of memory, and with the flow's hook."""
    run = project.run(project.deploy(SCRIPT), "wait")
    os.kill(run.facts()["pid"], signal.SIGKILL)

    state = run.ended().state

    assert state is not None
    assert state.type is StateType.CRASHED
    assert "SIGKILL" in (state.message or "")
    assert "Not for want of memory" in (state.message or "")
    wait_until(run.out.with_suffix(".crashed").exists)


def test_a_run_that_cannot_be_loaded_is_reported(worker: WarmWorker, project: Project) -> None:
    """Nobody waits for it."""
    assert project.run(project.deploy("flows/gone.py:gone")).state_type() is StateType.CRASHED


def test_runs_outlive_their_fork_server(worker: WarmWorker, project: Project) -> None:
    """What runs goes on and is seen to its end, what comes next has another server."""
    deployment = project.deploy(SCRIPT)
    going = project.run(deployment, "wait")
    facts = going.facts()
    os.kill(facts["parent"], signal.SIGKILL)

    after = project.run(deployment)

    assert after.state_type() is StateType.COMPLETED
    assert is_fork_server(after.facts()["parent"])
    assert not going.state.is_final()
    os.kill(facts["pid"], signal.SIGKILL)
    assert going.state_type() is StateType.CRASHED


def test_a_worker_told_to_stop_lets_its_runs_end(
    prefect_server: PrefectServer, elsewhere: Project
) -> None:
    """It begins nothing new, waits for runs, and ends them when it is told again."""
    deployment = elsewhere.deploy(SCRIPT)
    command = {"command": f"{sys.executable} -m prefect.engine"}
    environment = {"IGNITION_WORKER_DRAIN_SECONDS": "1000"}
    stopping = WarmWorker(prefect_server, elsewhere.pool, environment=environment)
    with stopping:
        ending, staying = (elsewhere.run(deployment, act) for act in ("until", "wait"))
        cold = elsewhere.run(deployment, "wait", job_variables=command)
        for run in (ending, staying, cold):
            run.facts()
        os.kill(stopping.pid, signal.SIGTERM)
        wait_until(lambda: "no new flow runs" in stopping.log.read_text())

        late = elsewhere.run(deployment)
        Path(f"{ending.out}.go").touch()
        assert ending.state_type() is StateType.COMPLETED
        assert stopping.running
        assert not staying.state.is_final()
        assert not cold.state.is_final()

        os.kill(stopping.pid, signal.SIGTERM)
        assert staying.state_type() is StateType.CRASHED
        assert cold.state_type() is StateType.CRASHED
        wait_until(lambda: not stopping.running)
    assert stopping._process is not None
    assert stopping._process.returncode == 0
    assert "stopped!" in stopping.log.read_text()
    assert late.state.is_scheduled()
