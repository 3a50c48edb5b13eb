"""What a task needs to know of the flow run that it works for."""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from ignition_ext.errors import ConfigurationError


def current_flow_run() -> FlowRun:
    """The flow run around this call.

    Raises:
        ConfigurationError: there is none.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ConfigurationError(
            "this only works inside of a flow run.", mend="Run: ignition campaign run TENANT/NAME"
        )
    return context.flow_run
