"""The parts of Prefect that the worker leans on are where they were, and take what they took."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import FlowRunExecutor, FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle
from prefect.runner._state_proposer import StateProposer
from prefect.runner._workspace_starter import WorkspaceResolvingEngineCommandStarter
from prefect.utilities.services import critical_service_loop
from prefect.workers.base import BaseJobConfiguration, BaseWorker
from prefect.workers.process import ProcessWorker

from ignition_ext.worker import private

MEND = (
    "Prefect has changed {name}: it is now {now}. Compare prefect/workers/process.py,"
    " prefect/runner/_workspace_supervisor.py and _starter_engine.py with ignition_ext/worker,"
    " run tests/acceptance/worker, then correct this table."
)
SIGNATURES: dict[str, tuple[Callable[..., Any], str]] = {
    "flow_engine._main": (private.run_engine, "(argv)"),
    "prepare_workspace": (
        private.prepare_workspace,
        "(client, flow_run, deployment, workspace_root)",
    ),
    "prepare_workspace_for_flow_run": (
        private.prepare_workspace_for_flow_run,
        "(flow_run_id, workspace_root)",
    ),
    "workspace_environment": (private.workspace_environment, "(workspace)"),
    "_workspace_command": (private.workspace_command, "(workspace, explicit_command, environment)"),
    "_hook_command": (private.hook_command, "(command)"),
    "_restore_runner_environment": (
        private.restore_runner_environment,
        "(environment, runner_environment)",
    ),
    "_runner_owns_environment_key": (private.runner_owns_environment_key, "(key)"),
    "write_private_model": (private.write_private_model, "(path, model)"),
    "refresh_global_settings_context": (private.refresh_global_settings_context, "()"),
    "setup_logging": (private.setup_logging, "(incremental)"),
    "WorkspaceHookRunner": (private.WorkspaceHookRunner, "(manifest_path, stream_output)"),
    "ProcessHandle": (ProcessHandle, "(_process, termination_scope)"),
    "StateProposer.propose_crashed": (
        StateProposer.propose_crashed,
        "(self, flow_run, message)",
    ),
    "ControlChannel.register": (ControlChannel.register, "(self, flow_run_id)"),
    "ControlChannel.unregister": (ControlChannel.unregister, "(self, flow_run_id)"),
    "CancellationManager.cancel_by_id": (
        private.CancellationManager.cancel_by_id,
        "(self, flow_run_id)",
    ),
    "FlowRunExecutor.submit": (FlowRunExecutor.submit, "(self, task_status)"),
    "FlowRunExecutorContext.create_executor": (
        FlowRunExecutorContext.create_executor,
        "(self, flow_run, starter, resolve_flow, propose_submitting, hook_runner)",
    ),
    "ProcessWorker.run": (ProcessWorker.run, "(self, flow_run, configuration, task_status)"),
    "BaseWorker.start": (BaseWorker.start, "(self, run_once, with_healthcheck, printer)"),
    "BaseWorker.get_and_submit_flow_runs": (BaseWorker.get_and_submit_flow_runs, "(self)"),
    "BaseWorker._submit_scheduled_flow_runs": (
        BaseWorker._submit_scheduled_flow_runs,
        "(self, flow_run_response)",
    ),
    "BaseWorker._submit_run": (BaseWorker._submit_run, "(self, flow_run)"),
    "BaseWorker._submit_run_and_capture_errors": (
        BaseWorker._submit_run_and_capture_errors,
        "(self, flow_run, task_status)",
    ),
    "BaseWorker._release_limit_slot": (BaseWorker._release_limit_slot, "(self, flow_run_id)"),
    "BaseWorker._initialize_after_sync": (BaseWorker._initialize_after_sync, "(self)"),
    "BaseWorker._give_worker_labels_to_flow_run": (
        BaseWorker._give_worker_labels_to_flow_run,
        "(self, flow_run_id)",
    ),
    "BaseWorker._propose_pending_state": (BaseWorker._propose_pending_state, "(self, flow_run)"),
    "BaseWorker._propose_crashed_state": (
        BaseWorker._propose_crashed_state,
        "(self, flow_run, message, client)",
    ),
    "BaseWorker._propose_submitting_state": (
        BaseWorker._propose_submitting_state,
        "(self, flow_run)",
    ),
}
USES: dict[str, tuple[Callable[..., Any], str]] = {
    "the context's manager of cancellations": (
        FlowRunExecutorContext.__aenter__,
        "self._cancellation_manager.cancel_by_id, flow_run_id",
    ),
    "the manager's hooks": (
        FlowRunExecutorContext.create_executor,
        "self._cancellation_manager._hook_runner = hook_runner",
    ),
    "what the server told of is begun": (
        BaseWorker.get_and_submit_flow_runs,
        "await self._submit_scheduled_flow_runs(flow_run_response=runs_response)",
    ),
    "when a run is announced": (
        BaseWorker._submit_run_and_capture_errors,
        "await self._propose_submitting_state(flow_run)",
    ),
    "the executor's proposer of states": (
        FlowRunExecutor.submit,
        "crashed_state = await self._state_proposer.propose_crashed(",
    ),
    "runs that are being submitted": (BaseWorker._submit_run, "self._submitting_flow_run_ids"),
    "what is asked before a run is claimed": (
        BaseWorker._submit_run,
        "await self.client.read_deployment(flow_run.deployment_id)",
    ),
    "runs whose cancellation is watched for": (
        BaseWorker._submit_run,
        "self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)",
    ),
    "a slot is held by the flow run's id": (
        BaseWorker._submit_scheduled_flow_runs,
        "self._limiter.acquire_on_behalf_of_nowait(flow_run.id)",
    ),
    "how patient the polling loop is": (BaseWorker.start, "backoff=4,"),
    "when the polling loop doubles its pauses": (critical_service_loop, "consecutive: int = 3"),
    "how long the polling loop pauses": (critical_service_loop, "interval * 2**backoff_count"),
    "a command's process leads no group": (ProcessWorker.run, "starter = EngineCommandStarter("),
    "any other cold process leads one": (
        WorkspaceResolvingEngineCommandStarter.start,
        'isolate_process_group=sys.platform != "win32"',
    ),
    "the tasks of runs": (BaseWorker._submit_run, "self._runs_task_group.start("),
    "the configuration's deployment": (
        BaseJobConfiguration.prepare_for_flow_run,
        '"deployment": deployment',
    ),
    "whether a command was configured": (ProcessWorker.run, "configuration._command_configured"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_private_part_takes_what_we_give_it(name: str) -> None:
    """By the names of its parameters."""
    part, expected = SIGNATURES[name]

    now = f"({', '.join(inspect.signature(part).parameters)})"

    assert now == expected, MEND.format(name=name, now=now)


@pytest.mark.parametrize("name", USES)
def test_a_private_attribute_is_used_as_we_use_it(name: str) -> None:
    """By the line of Prefect's that reads or sets it."""
    part, line = USES[name]

    source = inspect.getsource(part)

    assert line in source, MEND.format(name=name, now="not there")


@pytest.mark.parametrize(
    "module", ["prefect.client.orchestration", "prefect._internal.version_checking"]
)
def test_prefect_makes_its_tls_contexts_where_they_are_shared(module: str) -> None:
    """Through the module's own name ``ssl``."""
    source = inspect.getsource(import_module(module))

    assert "ssl.create_default_context(cafile=cert_file)" in source, MEND.format(
        name=module, now="making them otherwise"
    )
