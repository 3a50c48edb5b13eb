"""``ignition worker``: the warm worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from prefect.settings import (
    PREFECT_WORKER_QUERY_SECONDS,
    get_current_settings,
    temporary_settings,
)

from ignition_ext.cli.output import note
from ignition_ext.errors import ConfigurationError
from ignition_ext.health import Job, serve
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.pools import find_pool
from ignition_ext.worker.worker import IgnitionWorker, ProcessPoolWorker

app = App(name="worker", help="Run flow runs of a work pool on this machine.")
QUERY_SECONDS = 0.5
"""Prefect's own 10 s are meant for runs that need seconds to begin. The server's events tell of a
run as well, but up to a second later on a busy server."""
TYPES: dict[str, type[IgnitionWorker]] = {
    "ignition": IgnitionWorker,
    "process": ProcessPoolWorker,
}


@app.command
async def start(
    *,
    pool: Annotated[str, Parameter(alias="-p")],
    queue: Annotated[list[str] | None, Parameter(alias="-q", negative="")] = None,
    name: Annotated[str | None, Parameter(alias="-n")] = None,
    limit: Annotated[int | None, Parameter(alias="-l", validator=Number(gte=1))] = None,
    query_seconds: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    health_port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=65535))] = None,
    health_host: str = "127.0.0.1",
) -> None:
    """Start a warm worker: flow runs are forked from a process that has imported Prefect already.

    It serves pools of type ``process`` and ``ignition``, beside other workers. SIGTERM or Ctrl-C:
    it takes no new runs, lets those that run end for IGNITION_WORKER_DRAIN_SECONDS, and goes;
    the second signal ends them at once.

    Args:
        pool: The work pool.
        queue: Only these queues of it; may be given more than once.
        name: The worker's name in the Prefect UI; without it one is made up.
        limit: At most this many flow runs at a time.
        query_seconds: Between two looks for runs that are due, beside the server's events; by
            default PREFECT_WORKER_QUERY_SECONDS where that is set, else 0.5.
        health_port: Serve /health/live, /health/ready and /health/jobs here; 0 takes a free port.
        health_host: The address for that; 0.0.0.0 where probes come from outside.
    """
    async with prefect_client() as client:
        found = await find_pool(client, pool)
    if found.type not in TYPES:
        raise ConfigurationError(
            f"the work pool {pool!r} is of type {found.type!r}; the warm worker serves"
            f" {' and '.join(TYPES)}.",
            mend=f"Start Prefect's own worker for it: prefect worker start --pool {pool}",
        )
    worker = TYPES[found.type](pool, work_queues=queue, name=name, limit=limit)
    if (
        query_seconds is None
        and "query_seconds" not in get_current_settings().worker.model_fields_set
    ):
        query_seconds = QUERY_SECONDS
    changes = {} if query_seconds is None else {PREFECT_WORKER_QUERY_SECONDS: query_seconds}
    with temporary_settings(changes):
        async with _health(worker, health_host, health_port):
            await worker.start(printer=note)


@asynccontextmanager
async def _health(worker: IgnitionWorker, host: str, port: int | None) -> AsyncIterator[None]:
    """The worker's health pages, if a port is given for them."""
    if port is None:
        yield
        return

    def jobs() -> Sequence[Job]:
        running = worker.under_way().items()
        return [Job(flow_run_id=key, process_id=process) for key, process in running]

    async with AsyncExitStack() as served:
        try:
            taken = await served.enter_async_context(serve(port, host=host, jobs=jobs))
        except OSError as error:
            raise ConfigurationError(
                f"{host}:{port} cannot serve the health pages: {error.strerror or error}.",
                mend="Give another --health-port, or 0 for a free one.",
            ) from error
        note(f"Health: http://{host}:{taken}/health/ready")
        yield
