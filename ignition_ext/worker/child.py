"""What one child does: become the process that was asked for, prepare the flow's code, run it.

The steps are those of Prefect's own workspace supervisor and engine, without the two starts of an
interpreter. Where a warm process cannot be what a new one would be, a new one is started in its
place, by ``exec``: the same process id, working directory and environment.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.context import AsyncClientContext
from prefect.logging.handlers import APILogHandler

from ignition_ext.worker import private
from ignition_ext.worker.job import Job
from ignition_ext.worker.rehearsal import Sources, settings_sources
from ignition_ext.worker.shadows import needs_new_interpreter, shadowed_module

_SUPERVISOR = "prefect.runner._workspace_supervisor"
_COLD = [sys.executable, "-m", "prefect.engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is to be run, and where.

    Attributes:
        command: an interpreter that the project needs (``uv run`` with its dependencies); None
            where ours will do.
    """

    command: Sequence[str] | None
    directory: Path
    environment: Mapping[str, str]
    entrypoint: str


def run(job: Job, base_path: Sequence[str]) -> int:
    """Run the job in this process; returns its exit status.

    Args:
        job: the flow run, its environment and its working directory.
        base_path: ``sys.path`` of a new interpreter behind its working directory and PYTHONPATH.
    """
    server, loaded = dict(os.environ), settings_sources()
    _name_process(job)
    _connect_output(job.stream_output)
    _enter(job.directory, job.environment)
    if needs_new_interpreter(job.environment, server):
        _start_anew(job)
    sys.path[:] = _path(job.directory, base_path)
    loaded = _read_settings(loaded)
    launch = anyio.run(_prepare, job)
    if launch is None:
        return 1
    _enter(launch.directory, launch.environment)
    if launch.command is not None:
        _become(launch.command)
    sys.path[:] = path = _path(launch.directory, base_path)
    if shadowed_module(path[: len(path) - len(base_path)]):
        anyio.run(APILogHandler.aflush)
        _become(_COLD)
    importlib.invalidate_caches()
    _read_settings(loaded)
    sys.argv = ["prefect.flow_engine", launch.entrypoint]
    return private.run_engine([launch.entrypoint])


def _name_process(job: Job) -> None:
    """Show the flow run's id in ``ps`` and ``top``, where the command is the server's; on Linux."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(job.environment.get("PREFECT__FLOW_RUN_ID", "flow run"))


def _connect_output(stream: bool) -> None:
    """Standard output as the job wants it; nothing is ever read from standard input."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    if not stream:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    os.close(nowhere)


def _enter(directory: str | Path, environment: Mapping[str, str]) -> None:
    """Take on a working directory and an environment, all of it."""
    os.chdir(directory)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    time.tzset()


def _path(directory: str | Path, base_path: Sequence[str]) -> list[str]:
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return list(dict.fromkeys([str(directory), *named, *base_path]))


def _read_settings(loaded: Sources) -> Sources:
    """Prefect's settings and logging as this process has them, where they are not loaded yet."""
    now = settings_sources()
    if now != loaded:
        private.refresh_global_settings_context()
        private.setup_logging()
    return now


def _start_anew(job: Job) -> NoReturn:
    """Become what the process worker would have started."""
    manifest = Path(job.manifest_path)
    config = manifest.with_name("supervisor.json")
    private.write_private_model(
        config,
        private.WorkspaceSupervisorConfig(
            flow_run_id=FlowRun.model_validate_json(job.flow_run).id,
            workspace_root=Path(job.directory),
            manifest_path=manifest,
        ),
    )
    _become([sys.executable, "-m", _SUPERVISOR, str(config)])


def _become(command: Sequence[str]) -> NoReturn:
    os.execvpe(command[0], list(command), os.environ)  # noqa: S606 - no shell is wanted


async def _prepare(job: Job) -> Launch | None:
    """Fetch the flow's code, as Prefect's workspace supervisor does it; None where that fails."""
    try:
        launch = _launch(job, await _workspace(job))
    except Exception:
        traceback.print_exc(file=sys.stderr)
        await APILogHandler.aflush()
        return None
    if launch.command is not None:
        await APILogHandler.aflush()  # another interpreter takes this one's place
    return launch


async def _workspace(job: Job) -> private.PreparedWorkspace:
    flow_run = FlowRun.model_validate_json(job.flow_run)
    if job.deployment is None:  # Prefect says what is wrong with that
        return await private.prepare_workspace_for_flow_run(flow_run.id, job.directory)
    deployment = DeploymentResponse.model_validate_json(job.deployment)
    if not (deployment.pull_steps or deployment.storage_document_id):
        # Nothing is asked of the server then, and a client costs as much as all the rest here.
        nobody = cast("PrefectClient", None)
        return await private.prepare_workspace(nobody, flow_run, deployment, job.directory)
    async with AsyncClientContext.get_or_create() as context:  # the steps' client too
        return await private.prepare_workspace(context.client, flow_run, deployment, job.directory)


def _launch(job: Job, workspace: private.PreparedWorkspace) -> Launch:
    """The environment that pull steps have left, with what the worker alone may say."""
    owned = {k: v for k, v in job.environment.items() if private.runner_owns_environment_key(k)}
    environment = private.sanitize_subprocess_env(private.workspace_environment(workspace))
    private.restore_runner_environment(environment, owned)
    chosen = private.workspace_command(workspace, None, environment=environment)
    command = None if chosen is None else private.command_from_string(chosen)
    environment["PREFECT__FLOW_ENTRYPOINT"] = workspace.runtime_entrypoint
    private.write_private_model(
        Path(job.manifest_path),
        private.PreparedWorkspaceManifest(
            working_directory=workspace.working_directory,
            project_root=workspace.project_root,
            runtime_entrypoint=workspace.runtime_entrypoint,
            hook_command=private.hook_command(command or _COLD),
            environment=environment,
        ),
    )
    return Launch(
        command=command,
        directory=workspace.working_directory,
        environment=environment,
        entrypoint=workspace.runtime_entrypoint,
    )
