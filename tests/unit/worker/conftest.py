"""A warm worker without Prefect's server, fork server and processes: its loops and books alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import anyio
import httpx
import prefect.workers.base
import prefect.workers.process
import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_WORKER_QUERY_SECONDS,
    temporary_settings,
)

from ignition_ext.worker import worker as module
from ignition_ext.worker.worker import IgnitionWorker

SETTINGS = {
    PREFECT_API_URL: "http://127.0.0.1:9/api",
    PREFECT_LOGGING_TO_API_ENABLED: False,
    PREFECT_WORKER_QUERY_SECONDS: 0.01,
}


def http_error(code: int) -> PrefectHTTPStatusError:
    """An answer of the server's that is none."""
    request = httpx.Request("GET", "http://server/api")
    response = httpx.Response(code, request=request)
    return PrefectHTTPStatusError(f"answered {code}", request=request, response=response)


async def nothing(*_: object) -> None:
    """In the place of what is not the subject."""


class Opened:
    """Can be entered, and that is all."""

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Server(Opened):
    """Prefect's server and its client: what is due, and who has asked for what.

    Attributes:
        due: runs that each look is told of until they are claimed.
        looks: how often somebody has asked what is due.
        claimed: the runs that became pending.
        said: what the worker has said.
        configuration: what each run is to be started with.
        on_look: called at each look; may raise.
        on_deployment: awaited when a run's deployment is read; may raise.
    """

    def __init__(self) -> None:
        self.due: list[FlowRun] = []
        self.looks = 0
        self.claimed: list[UUID] = []
        self.said: list[str] = []
        self.configuration: object = None
        self.on_look: Callable[[], None] = lambda: None
        self.on_deployment: Callable[[], Awaitable[None]] = nothing

    error = staticmethod(http_error)
    settings = staticmethod(lambda: temporary_settings(SETTINGS))

    def add(self) -> FlowRun:
        """Make a run that is due."""
        state = State(type=StateType.SCHEDULED)
        run = FlowRun(flow_id=uuid4(), deployment_id=uuid4(), name="any", state=state)
        self.due.append(run)
        return run

    async def get_scheduled_flow_runs_for_work_pool(self, **_: object) -> Any:
        self.looks += 1
        self.on_look()
        ids = {"work_pool_id": uuid4(), "work_queue_id": uuid4()}
        return [WorkerFlowRunResponse(**ids, flow_run=run) for run in self.due]

    async def read_deployment(self, _: UUID) -> None:
        await self.on_deployment()

    async def update_flow_run(self, **_: object) -> None:
        return None

    async def set_flow_run_state(self, *_: object, **__: object) -> None:
        return None

    async def propose(self, _: object, state: State, flow_run_id: UUID) -> State:
        """Prefect's ``propose_state``."""
        if state.name == "Pending":
            self.claimed.append(flow_run_id)
            self.due = [run for run in self.due if run.id != flow_run_id]
        return state

    @asynccontextmanager
    async def working(self, worker: IgnitionWorker) -> AsyncIterator[asyncio.Task[None]]:
        """The worker's own ``start`` beside the block; ended with it."""
        with self.settings():
            task = asyncio.create_task(worker.start(printer=self.said.append))
            try:
                yield task
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def until(self, holds: Callable[[], object]) -> None:
        """Look until it holds."""
        async with asyncio.timeout(90):
            while not holds():  # noqa: ASYNC110 - the worker's loops have no event to wait on
                await asyncio.sleep(0.01)


class Runs:
    """In the place of ``IgnitionWorker.run``: each goes on until it is told to end."""

    def __init__(self) -> None:
        self.begun: list[UUID] = []
        self.cancelled: list[UUID] = []
        self.over = asyncio.Event()

    async def run(self, flow_run: FlowRun, configuration: Any, task_status: Any = None) -> Any:
        """Begin a run."""
        self.begun.append(flow_run.id)
        task_status.started(7)
        try:
            await self.over.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(flow_run.id)
            raise
        return SimpleNamespace(status_code=0, identifier="7")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server."""
    made = Server()

    async def known() -> dict[str, str]:
        return {}

    monkeypatch.setattr(module, "settings_of_server", known)
    monkeypatch.setattr(prefect.workers.base, "get_client", lambda: made)
    monkeypatch.setattr(prefect.workers.base, "propose_state", made.propose)
    monkeypatch.setattr(prefect.workers.process, "Runner", lambda **_: Opened())
    return made


@pytest.fixture
def make_worker(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., IgnitionWorker]:
    """Makes a worker of that server; ``limit`` is its only argument."""

    class Configuration:
        @staticmethod
        async def resolve_for_flow_run(*_: object, **__: object) -> object:
            return server.configuration

    def make(limit: int | None = None) -> IgnitionWorker:
        worker = IgnitionWorker("any", limit=limit)
        pool = SimpleNamespace(name="any", id=uuid4())

        async def synced() -> None:
            worker._work_pool = pool
            worker._has_successfully_synced = True

        for name, stands_in in {
            "_sync_and_initialize": synced,
            "_emit_worker_started_event": nothing,
            "_emit_flow_run_submitted_event": lambda _: None,
            "_give_worker_labels_to_flow_run": nothing,
            "job_configuration": Configuration,
        }.items():
            monkeypatch.setattr(worker, name, stands_in)
        monkeypatch.setattr(worker._servers, "refresh", nothing)
        return worker

    return make


@pytest.fixture
async def runs() -> Runs:
    """The runs; a test gives their ``run`` to its worker."""
    return Runs()
