"""The worker type ``ignition``: Prefect's process worker with the imports paid once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from abc import ABC
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.workers.base import BaseWorkerResult
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from ignition_ext.settings import Settings
from ignition_ext.worker import memory, private
from ignition_ext.worker.cold import NotedStatus
from ignition_ext.worker.contexts import ExecutorContexts, SharedContext
from ignition_ext.worker.drain import Drain
from ignition_ext.worker.handshake import settings_of_server
from ignition_ext.worker.patience import Patience
from ignition_ext.worker.server import ForkServerError
from ignition_ext.worker.servers import ForkServers
from ignition_ext.worker.starter import WarmStarter
from ignition_ext.worker.wakeup import WakeUp


class IgnitionWorker(ProcessWorker):
    """Runs each flow run in a child forked from a process that has imported Prefect already."""

    type = "ignition"
    _description = (
        "Execute flow runs as subprocesses that are forked from a warm process: as isolated as"
        " with the Process worker, without the seconds that importing Prefect takes."
    )
    _display_name = "Ignition"
    _documentation_url = "https://docs.prefect.io/v3/concepts/workers"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = Settings()
        names = (name.strip() for name in settings.worker_preload.split(","))
        self._servers = ForkServers([name for name in names if name])
        self._contexts = ExecutorContexts()
        self._wakeup = WakeUp(self._look)
        self._drain = Drain(settings.worker_drain_seconds, self._is_busy)
        self._patience = Patience(self._drain.stop)
        self._polling = asyncio.Lock()
        self._killed = memory.here()
        self._running: set[UUID] = set()
        self._handles: dict[UUID, private.ProcessHandle] = {}
        self._announced: dict[UUID, asyncio.Task[None]] = {}

    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[..., None] = print,
    ) -> None:
        """Work until told to stop by SIGTERM or SIGINT; then let runs end before going."""
        async with anyio.create_task_group() as group:
            with self._drain.on_signals(printer):
                group.start_soon(self._drain.carry_out, self._handles.values(), group.cancel_scope)
                await super().start(run_once, with_healthcheck, printer)
            group.cancel_scope.cancel()
        if self._drain.asked:
            printer(f"Worker {self.name!r} stopped!")

    async def setup(self) -> None:
        """Start the fork server beside all that a worker needs."""
        if hasattr(os, "fork"):
            self._servers.known = await settings_of_server()
            await self._servers.refresh()
        await super().setup()

    async def teardown(self, *exc_info: Any) -> None:
        """End in order, whatever it is that ends us.

        Prefect's part leaves a task group that was entered outside: no scope may be around that.
        """
        with anyio.CancelScope(shield=True):
            await self._wakeup.stop()
        try:
            await super().teardown(*exc_info)
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await self._contexts.close()
                finally:
                    await self._servers.close()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """One turn of the polling loop, which is patient with a server that is away."""
        async with self._patience.with_server():
            return await self._look()

    async def _look(self) -> list[FlowRun]:
        """Ask for runs that are due and begin them; one such turn at a time, none when stopping."""
        async with self._polling:
            if self._drain.asked:
                return []
            begun = await super().get_and_submit_flow_runs()
        self._patience.answered()
        return begun

    async def _submit_scheduled_flow_runs(
        self, flow_run_response: list[WorkerFlowRunResponse]
    ) -> list[FlowRun]:
        """Begin what the server told of, unless the stop came while it was asked.

        A run that comes back, resumed or retried, while its former process still ends waits for
        that: process, hooks and slot are known by the flow run's id, which both share.
        """
        if self._drain.asked:
            return []
        slots = self._limiter.statistics().borrowers if self._limiter else ()
        taken = self._running.union(slots)
        free = [entry for entry in flow_run_response if entry.flow_run.id not in taken]
        return await super()._submit_scheduled_flow_runs(free)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Claim a run and begin it; where the server cannot be asked, a later look finds it again.

        Errors come here from what is asked before the claim alone: Prefect catches those after it.
        """
        try:
            await super()._submit_run(flow_run)
        except httpx.HTTPError as error:
            self._logger.warning("Flow run '%s' stays scheduled: %r", flow_run.id, error)
            self._submitting_flow_run_ids.discard(flow_run.id)
            if self._cancelling_observer is not None:
                self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)
        finally:
            if flow_run.id not in self._running:  # Prefect keeps the slot of a deleted deployment
                self._release_limit_slot(flow_run.id)

    async def _submit_run_and_capture_errors(
        self,
        flow_run: FlowRun,
        task_status: anyio.abc.TaskStatus[int | Exception] | None = None,
    ) -> BaseWorkerResult | Exception:
        """Run a claimed run to its end; until then it is not begun a second time."""
        self._running.add(flow_run.id)
        try:
            return await super()._submit_run_and_capture_errors(flow_run, task_status)
        finally:
            self._running.discard(flow_run.id)
            self._wakeup.wake()  # a slot is free

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run one flow run in a child of its own; returns how that ended."""
        if configuration._command_configured or not await self._is_warm():
            return await self._run_cold(flow_run, configuration, task_status)
        async with self._contexts.lend() as shared:
            with _working_directory(configuration) as directory:
                starter = self._starter(shared, configuration, directory)
                try:
                    return await self._execute(shared, starter, flow_run, task_status)
                finally:
                    starter.close()

    async def _run_cold(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None,
    ) -> ProcessWorkerResult:
        """As the process worker does, which gives a group to each process but a ``command``'s."""

        def note(pid: int) -> None:
            leads_group = not configuration._command_configured
            self._handles[flow_run.id] = private.handle_of_pid(pid, leads_group=leads_group)

        try:
            return await super().run(flow_run, configuration, NotedStatus(task_status, note))
        finally:
            self._handles.pop(flow_run.id, None)

    async def _is_warm(self) -> bool:
        """Whether there is a fork server that has loaded what is installed now."""
        if not hasattr(os, "fork"):
            return False
        try:
            await self._servers.refresh()
        except ForkServerError as error:  # in the middle of a deploy, say
            self._logger.warning("Starting this run without the fork server: %s", error)
            return False
        return True

    def _starter(
        self, shared: SharedContext, configuration: ProcessJobConfiguration, directory: str
    ) -> WarmStarter:
        return WarmStarter(
            servers=self._servers,
            channel=shared.context.control_channel,
            deployment=configuration._related_objects.get("deployment"),
            directory=Path(directory).resolve(),
            environment=configuration.env,
            stream_output=configuration.stream_output,
            killed=self._killed,
        )

    async def _execute(
        self,
        shared: SharedContext,
        starter: WarmStarter,
        flow_run: FlowRun,
        task_status: anyio.abc.TaskStatus[int] | None,
    ) -> ProcessWorkerResult:
        hooks = shared.cancellations.hooks
        hooks.add(flow_run.id, starter.hook_runner)
        try:
            executor = shared.context.create_executor(
                flow_run, starter, propose_submitting=False, hook_runner=starter.hook_runner
            )
            private.replace_state_proposer(
                executor, lambda proposer: memory.TellingProposer(proposer, starter.why)
            )
            async with anyio.create_task_group() as group:
                outcome: asyncio.Future[private.FlowRunExecutionResult | None] = asyncio.Future()

                async def execute(
                    *, task_status: anyio.abc.TaskStatus[private.ProcessHandle]
                ) -> None:
                    outcome.set_result(await executor.submit(task_status=task_status))

                handle: private.ProcessHandle = await group.start(execute)
                self._handles[flow_run.id] = handle
                if task_status is not None and handle.pid is not None:
                    task_status.started(handle.pid)
            execution = outcome.result()
            await shared.cancellations.settled(flow_run.id)
        finally:
            hooks.remove(flow_run.id)
            self._handles.pop(flow_run.id, None)
        if execution is None or execution.status_code is None:
            raise RuntimeError("Failed to start flow run process.")
        return ProcessWorkerResult(
            status_code=execution.status_code, identifier=str(execution.handle.pid)
        )

    def under_way(self) -> dict[UUID, int | None]:
        """The flow runs that have a process at this moment, and which."""
        return {flow_run_id: handle.pid for flow_run_id, handle in self._handles.items()}

    def _is_busy(self) -> bool:
        return bool(self._running or self._submitting_flow_run_ids)

    async def _initialize_after_sync(self) -> None:
        """Listen for runs that become due, once the pool is known."""
        await super()._initialize_after_sync()
        if self._work_pool is not None:
            self._wakeup.start(self._work_pool.id)
        if hasattr(os, "fork"):  # so that no run has to wait for them
            self._beside(self._servers.refresh)
            self._beside(self._contexts.open)

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Name the worker on the run, without having the run wait for it."""
        self._beside(super()._give_worker_labels_to_flow_run, flow_run_id)

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        """Claim the run; then say that it is about to start, while its deployment is read.

        Nothing is claimed any more when a stop came meanwhile: the run stays scheduled.
        """
        if self._drain.asked:
            return False
        ready = await super()._propose_pending_state(flow_run)
        if ready:
            announcing = super()._propose_submitting_state(flow_run)
            self._announced[flow_run.id] = asyncio.create_task(announcing)
        return ready

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Wait until it is said: after a flow's first state it would begin the run anew."""
        if (announcing := self._announced.pop(flow_run.id, None)) is not None:
            await announcing

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        """Say that it crashed, after all that was said before."""
        await self._propose_submitting_state(flow_run)
        await super()._propose_crashed_state(flow_run, message, client)

    def _beside(self, call: Callable[..., Any], *arguments: object) -> None:
        async def attempt() -> None:
            try:
                await call(*arguments)
            except Exception:
                self._logger.debug("%s failed.", call.__name__, exc_info=True)

        assert self._runs_task_group is not None
        self._runs_task_group.start_soon(attempt)


class ProcessPoolWorker(IgnitionWorker, ABC):
    """The same worker for a pool of type ``process``, whose settings it shares.

    Not in Prefect's registry (for which it counts as abstract): there ``process`` is Prefect's.
    """

    type = "process"


def _working_directory(
    configuration: ProcessJobConfiguration,
) -> contextlib.AbstractContextManager[str]:
    """The folder that the pool or deployment names, else a temporary one."""
    if configuration.working_dir:
        return contextlib.nullcontext(str(configuration.working_dir))
    return tempfile.TemporaryDirectory(suffix="prefect")
