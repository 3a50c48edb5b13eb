"""Starts a flow run in a child of the fork server, behind Prefect's own executor."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from ignition_ext.worker import private
from ignition_ext.worker.handshake import settings_of_child
from ignition_ext.worker.job import Job
from ignition_ext.worker.memory import Killed
from ignition_ext.worker.server import ForkedProcess
from ignition_ext.worker.servers import ForkServers

STOP_SECONDS = 5.0
"""What a child may take to report its end when the worker is cancelled, before it is killed."""


class WarmStarter:
    """A ``ProcessStarter`` of Prefect's: forks where the process worker starts an interpreter.

    Args:
        servers: where children come from.
        channel: Prefect's way to tell a child that it is cancelled.
        deployment: of the flow run, as the worker has read it.
        directory: the child's working directory, which pull steps fill.
        environment: the child's environment as the job variables have it.
        stream_output: whether what is printed is shown.
        killed: tells why a child was killed.
    """

    def __init__(
        self,
        *,
        servers: ForkServers,
        channel: private.ControlChannel,
        deployment: DeploymentResponse | None,
        directory: Path,
        environment: Mapping[str, str | None],
        stream_output: bool,
        killed: Killed,
    ) -> None:
        self._killed, self._began = killed, 0
        self._process: ForkedProcess | None = None
        self._servers, self._channel, self._deployment = servers, channel, deployment
        self._directory, self._environment = directory, environment
        self._stream_output = stream_output
        self._folder = tempfile.TemporaryDirectory(prefix="ignition-attempt-")
        self._manifest = Path(self._folder.name) / "workspace.json"
        self.hook_runner = private.WorkspaceHookRunner(
            manifest_path=self._manifest, stream_output=stream_output
        )

    def why(self) -> str:
        """What is known of the child's end besides its status, for the report of a crash."""
        status = None if self._process is None else self._process.returncode
        return self._killed.why(status, self._began)

    def close(self) -> None:
        """Delete what hooks needed to know."""
        self._folder.cleanup()

    async def start(
        self,
        flow_run: FlowRun,
        task_status: anyio.abc.TaskStatus[private.ProcessHandle] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Fork, say which process it is, and return when it has ended.

        Raises:
            ForkServerError: it cannot be forked.
        """
        deployment = self._deployment
        try:
            job = Job(
                flow_run=flow_run.model_dump_json(),
                deployment=None if deployment is None else deployment.model_dump_json(),
                environment=self._child_environment(flow_run),
                directory=str(self._directory),
                manifest_path=str(self._manifest),
                stream_output=self._stream_output,
            )
            self._began = self._killed.count()
            self._process = process = await self._servers.fork(job)
        except BaseException:
            self._channel.unregister(flow_run.id)
            raise
        handle = private.process_handle(process)
        task_status.started(handle)
        try:
            await process.wait()
        except BaseException:
            await _end(process, handle)
            raise

    def _child_environment(self, flow_run: FlowRun) -> dict[str, str]:
        """As Prefect's ``EngineCommandStarter`` makes it, the job's variables last.

        The job's hold the worker's settings; to write them down again would cost 20 ms.
        """
        known = settings_of_child(self._servers.known, self._environment)
        environment = {**known, **os.environ, **self._environment}
        environment["PREFECT__FLOW_RUN_ID"] = str(flow_run.id)
        environment["PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS"] = "false"
        with suppress(RuntimeError):  # without a listener a cancellation is a plain SIGTERM
            port, token = self._channel.register(flow_run.id)
            environment["PREFECT__CONTROL_PORT"] = str(port)
            environment["PREFECT__CONTROL_TOKEN"] = token
        return private.sanitize_subprocess_env(environment)


async def _end(process: ForkedProcess, handle: private.ProcessHandle) -> None:
    """Ask the child's group to end, then kill what is left: the worker is going."""
    with anyio.CancelScope(shield=True):
        with suppress(ProcessLookupError):
            handle.graceful_kill()
        with anyio.move_on_after(STOP_SECONDS):
            await process.wait()
        with suppress(ProcessLookupError, PermissionError):
            handle.hard_kill()
