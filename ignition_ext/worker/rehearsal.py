"""What each child does first, done once before any is forked.

Pydantic builds its validators, and Python its caches, when a thing is first used. Nothing here
starts a thread, opens a connection or leaves an event loop behind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import anyio
import prefect.context
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import get_current_settings
from sqlalchemy.orm import configure_mappers

from ignition_ext.worker import private

PROJECT_FILES = (".env", "prefect.toml", "pyproject.toml")
"""Files of the working directory that Prefect's settings may come from."""
Sources = tuple[Mapping[str, str], Mapping[str, bytes]]


def settings_sources() -> Sources:
    """All that Prefect's settings are made of: variables, and files by path with their content."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }
    files = {}
    for path in (*map(Path, PROJECT_FILES), get_current_settings().profiles_path):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if path.name != "pyproject.toml" or b"tool.prefect" in content:
            files[str(path)] = content
    return variables, files


def rehearse() -> None:
    """Go through a child's first steps with a run that does not exist."""
    flow_run = FlowRun(
        id=uuid4(), flow_id=uuid4(), name="rehearsal", state=State(type=StateType.PENDING)
    )
    FlowRun.model_validate_json(flow_run.model_dump_json())
    deployment = DeploymentResponse(id=uuid4(), name="rehearsal", flow_id=uuid4(), labels={})
    DeploymentResponse.model_validate_json(deployment.model_dump_json())
    prefect.context.root_settings_context()
    private.setup_logging()
    private.share_tls_contexts()
    settings_sources()
    configure_mappers()
    anyio.run(anyio.sleep, 0)
