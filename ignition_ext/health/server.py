"""``GET /health/live``, ``/health/ready`` and ``/health/jobs``, beside a worker in its own loop.

Live: the loop answers, so the process is not stuck. Ready: database and Prefect server are there,
so that it can take work. Jobs: what it works on, and how all unfinished runs stand.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import UUID

import httpx
import uvicorn
from prefect.exceptions import PrefectException
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ignition_ext.errors import IgnitionError
from ignition_ext.health import facts
from ignition_ext.health.check import Check, Verdict, failed
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.settings import Settings

KEPT_SECONDS = 2.0
"""Answers are kept so long: several probes a second must not become as many logins."""
LOOK_SECONDS = 10.0
"""Database and server have so long to answer, together; probes do not wait for longer."""
OK, UNAVAILABLE = 200, 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A flow run that this node works on; what the worker does not know is left out."""

    flow_run_id: UUID
    name: str = ""
    started_at: datetime | None = None
    process_id: int | None = None


Jobs = Callable[[], Sequence[Job]]


@dataclass(slots=True)
class _Kept:
    """The last answer to "can it work", for a short while."""

    checks: Sequence[Check] = ()
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self) -> Sequence[Check]:
        async with self.lock:
            if time.monotonic() >= self.until:
                self.checks = await _look()
                self.until = time.monotonic() + KEPT_SECONDS
            return self.checks


async def _look() -> Sequence[Check]:
    database, server = await asyncio.gather(
        _in_time("database", _database), _in_time("prefect", _prefect)
    )
    return (database, server)


async def _in_time(name: str, look: Callable[[], Awaitable[Check]]) -> Check:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await look()
    except TimeoutError:
        return failed(name, f"no answer within {LOOK_SECONDS:.0f} s.", "Look at its log.")


async def _database() -> Check:
    return await facts.check_database(Settings())


async def _prefect() -> Check:
    try:
        async with prefect_client() as client:
            return await facts.check_server(client)
    except IgnitionError as error:
        return failed("prefect", error.message, error.mend)


def application(jobs: Jobs) -> Starlette:
    """The three pages; ``jobs`` says what the worker has under way."""
    began, kept = utc_now(), _Kept()

    async def live(_: Request) -> Response:
        said = {"status": "live", "process_id": os.getpid(), "since": began.isoformat()}
        return JSONResponse(said)

    async def ready(_: Request) -> Response:
        checks = await kept.read()
        is_ready = all(check.verdict is not Verdict.FAILED for check in checks)
        said = {
            "status": "ready" if is_ready else "not ready",
            "checks": [asdict(check) for check in checks],
        }
        return JSONResponse(said, status_code=OK if is_ready else UNAVAILABLE)

    async def under_way(_: Request) -> Response:
        said = {
            "node": socket.gethostname(),
            "process_id": os.getpid(),
            "jobs": [_document(job) for job in jobs()],
        }
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                runs = await facts.read_runs(Settings())
                said["runs"] = [facts.document(run) for run in runs]
                said["reconciled_at"] = await _reconciled_at()
        except (IgnitionError, TimeoutError, httpx.HTTPError, PrefectException) as error:
            return JSONResponse({**said, "error": f"{error}"}, status_code=UNAVAILABLE)
        return JSONResponse(said)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/health/jobs", under_way),
        ]
    )


async def _reconciled_at() -> str | None:
    async with prefect_client() as client:
        at = await facts.last_reconciled(client)
    return None if at is None else at.isoformat()


def _document(job: Job) -> dict[str, object]:
    return {
        "flow_run_id": str(job.flow_run_id),
        "name": job.name,
        "started_at": None if job.started_at is None else job.started_at.isoformat(),
        "process_id": job.process_id,
    }


class _Server(uvicorn.Server):
    """Leaves the signals to the worker, which drains when it is told to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve(port: int, *, host: str = "127.0.0.1", jobs: Jobs = list) -> AsyncIterator[int]:
    """Serve the pages while the block lasts; gives the port, a free one for 0.

    Args:
        port: where to listen.
        host: on which address; 0.0.0.0 where a probe comes from outside, as in Kubernetes. The
            pages say names of campaigns and of servers, and no secret.
        jobs: asked at each request for what the worker has under way.

    Raises:
        OSError: the port is in use.
    """
    listener = socket.create_server((host, port))
    config = uvicorn.Config(
        application(jobs), log_level="warning", access_log=False, lifespan="off", ws="none"
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="health")
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await serving
        listener.close()
