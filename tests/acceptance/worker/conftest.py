"""A warm worker on the shared Prefect server, and a project of somebody else's for it to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.probe_project import Project, write_project
from ignition_ext.devtools.stack import PrefectServer, WarmWorker
from ignition_ext.worker.worker import IgnitionWorker


@pytest.fixture(scope="module")
def client(prefect_server: PrefectServer) -> Iterator[SyncPrefectClient]:
    """A client of the shared server."""
    settings = {PREFECT_API_URL: prefect_server.url, PREFECT_HOME: prefect_server.home}
    with temporary_settings(settings), get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def project(client: SyncPrefectClient, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, with a pool of its own."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    return Project(folder, make_pool(client), client)


def make_pool(client: SyncPrefectClient) -> str:
    """A pool of type ``process`` of its own; returns its name."""
    name = f"pool-{uuid4().hex[:8]}"
    template = IgnitionWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    return name


@pytest.fixture
def elsewhere(project: Project) -> Project:
    """The same project with a pool that no worker serves yet."""
    return replace(project, pool=make_pool(project.client))


@pytest.fixture(scope="module")
def worker(
    prefect_server: PrefectServer, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WarmWorker]:
    """A warm worker that has preloaded a module of its own besides."""
    library = tmp_path_factory.mktemp("library")
    (library / "preloaded_things.py").write_text("NUMBER = 1\n")
    environment = {
        "IGNITION_WORKER_PRELOAD": "preloaded_things",
        "PYTHONPATH": str(library),
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
    }
    started = WarmWorker(prefect_server, project.pool, environment=environment, limit=6)
    started.health_port = free_port()
    with started:
        yield started
