"""The one door to those of Prefect's private modules that the worker leans on.

They carry what must be the same as with Prefect's process worker: cancellation, hooks, the
control channel, workspaces and crash reports. ``tests/worker/test_private.py`` holds their
signatures against :data:`SIGNATURES` and says what to look at when they move.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio.abc
import certifi
import prefect._internal.version_checking
import prefect.client.orchestration
from prefect.context import refresh_global_settings_context
from prefect.flow_engine import _main as run_engine
from prefect.logging.configuration import setup_logging
from prefect.runner._cancellation_manager import CancellationManager
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import (
    FlowRunExecutionResult,
    FlowRunExecutor,
    FlowRunExecutorContext,
)
from prefect.runner._process_manager import ProcessHandle, create_isolated_termination_scope
from prefect.runner._workspace_hook_runner import WorkspaceHookRunner
from prefect.runner._workspace_resolver import (
    PreparedWorkspace,
    prepare_workspace,
    prepare_workspace_for_flow_run,
)
from prefect.runner._workspace_runtime import (
    PreparedWorkspaceManifest,
    WorkspaceSupervisorConfig,
    write_private_model,
)
from prefect.runner._workspace_starter import _workspace_command as workspace_command
from prefect.runner._workspace_starter import workspace_environment
from prefect.runner._workspace_supervisor import _hook_command as hook_command
from prefect.runner._workspace_supervisor import (
    _restore_runner_environment as restore_runner_environment,
)
from prefect.runner._workspace_supervisor import (
    _runner_owns_environment_key as runner_owns_environment_key,
)
from prefect.settings import get_current_settings
from prefect.utilities.processutils import command_from_string, sanitize_subprocess_env

if TYPE_CHECKING:
    from ignition_ext.worker.server import ForkedProcess

__all__ = [
    "CancellationManager",
    "ControlChannel",
    "FlowRunExecutionResult",
    "FlowRunExecutorContext",
    "PreparedWorkspace",
    "PreparedWorkspaceManifest",
    "ProcessHandle",
    "WorkspaceHookRunner",
    "WorkspaceSupervisorConfig",
    "command_from_string",
    "handle_of_pid",
    "hook_command",
    "prepare_workspace",
    "prepare_workspace_for_flow_run",
    "process_handle",
    "refresh_global_settings_context",
    "replace_cancellation_manager",
    "replace_state_proposer",
    "restore_runner_environment",
    "run_engine",
    "runner_owns_environment_key",
    "sanitize_subprocess_env",
    "setup_logging",
    "share_tls_contexts",
    "workspace_command",
    "workspace_environment",
    "write_private_model",
]


def replace_cancellation_manager(context: FlowRunExecutorContext, manager: object) -> None:
    """Have the context cancel runs by another manager; it is looked up at each cancellation."""
    vars(context)["_cancellation_manager"] = manager


def replace_state_proposer(executor: FlowRunExecutor, wrap: Callable[[object], object]) -> None:
    """Have the executor propose states by what ``wrap`` makes of its proposer."""
    vars(executor)["_state_proposer"] = wrap(executor._state_proposer)


def process_handle(process: ForkedProcess) -> ProcessHandle:
    """Prefect's handle of a process that leads a group of its own."""
    scope = create_isolated_termination_scope(process.pid)
    # Of a process the handle asks only `pid` and `returncode`.
    return ProcessHandle(cast("anyio.abc.Process", process), termination_scope=scope)


def handle_of_pid(pid: int, *, leads_group: bool) -> ProcessHandle:
    """Prefect's handle of a process of which only the id is known.

    On Windows no process leads a group: Prefect's workspace supervisor has a job object there.
    """
    process = cast("anyio.abc.Process", SimpleNamespace(pid=pid, returncode=None))
    if leads_group and sys.platform != "win32":
        return ProcessHandle(process, termination_scope=create_isolated_termination_scope(pid))
    return ProcessHandle(process)


class _SharedTls(ModuleType):
    """The module ``ssl``, with one context for each file of certificate authorities."""

    def __init__(self) -> None:
        super().__init__("ssl")
        self._contexts: dict[str, ssl.SSLContext] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(ssl, name)

    def create_default_context(self, *, cafile: str | None = None) -> ssl.SSLContext:
        """As in ``ssl``; without a file the context is not shared, for Prefect changes it."""
        if cafile is None:
            return ssl.create_default_context()
        if cafile not in self._contexts:
            self._contexts[cafile] = ssl.create_default_context(cafile=cafile)
        return self._contexts[cafile]


def share_tls_contexts() -> None:
    """Read the file of certificate authorities once for all of Prefect's own clients.

    Prefect reads it for each client, five times before a flow's first line: 20 ms each, more than
    half of a warm child's work, also where the API has no TLS. Contexts of others are untouched.
    """
    shared = _SharedTls()
    for module in (prefect.client.orchestration, prefect._internal.version_checking):
        vars(module)["ssl"] = shared
    shared.create_default_context(
        cafile=get_current_settings().api.ssl_cert_file or certifi.where()
    )
