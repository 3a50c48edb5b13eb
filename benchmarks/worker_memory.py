"""What the warm worker keeps of the runs that it has started, and what it asks when it is idle.

``python benchmarks/worker_memory.py [--runs N] [--each N] [--idle SECONDS] [--json]``, in a clone

Starts a Prefect server on PostgreSQL and a warm worker of its own on loopback, and has it run a
flow that writes one line, again and again. After each hundred runs (``--each``), when no child is
left, the memory of the worker and of its fork server is read: PSS, that is what is theirs alone and
their share of what others have too. The slope is that of the straight line through the second half
of the readings, in kB for a thousand runs. Before the runs the worker is left alone for ``--idle``
seconds, and a relay between it and the server counts its requests. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from ignition_ext.devtools.postgres import postgres_server
from ignition_ext.devtools.stack import PrefectServer, WarmWorker

POOL = "memory"
AT_ONCE = 4
SETTLE_SECONDS = 20.0
"""A worker that has just started opens its connections and heartbeats before it is idle."""
LOOK_SECONDS = 0.5
END_SECONDS = 3600.0
REQUEST = re.compile(rb"^(GET|POST|PATCH|PUT|DELETE) (\S+) HTTP/1\.1\r\n")


class CountingRelay:
    """A TCP relay to the server that counts what looks like the head of a request.

    A client writes each head at once and has one request under way in a connection, so that each
    begins a piece of what is read.
    """

    def __init__(self, port: int) -> None:
        self.counted: Counter[str] = Counter()
        self._port = port

    async def serve(self) -> tuple[asyncio.Server, int]:
        """Listen; returns the server and its port."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(
            self._pump(reader, far_writer, counts=True), self._pump(far_reader, writer)
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                if counts and (found := REQUEST.match(piece)):
                    path = re.sub(rb"[0-9a-f-]{36}", b"ID", found[2]).decode()
                    self.counted[f"{found[1].decode()} {path}"] += 1
                writer.write(piece)
                await writer.drain()
        with suppress(ConnectionError):
            writer.close()


def pss_kb(pid: int) -> int:
    """The memory of a process: its own and its share of what it shares, in kB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(f"process {pid} has no Pss")


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def fork_server(worker: int) -> int:
    """The worker's fork server."""
    for pid in children(worker):
        if b"worker.forking" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise LookupError(f"worker {worker} has no fork server")


def slope(readings: Sequence[tuple[int, int]]) -> float | None:
    """kB for a thousand runs, in the second half: what is made once is made in the first."""
    later = readings[len(readings) // 2 :]
    if len(later) < 2:
        return None
    runs, sizes = zip(*later, strict=True)
    return round(statistics.linear_regression(runs, sizes).slope * 1000, 1)


async def batch(client: PrefectClient, deployment: UUID, number: int, line: Path) -> None:
    """Have so many runs made, and wait until all have ended."""
    room = asyncio.Semaphore(AT_ONCE)

    async def make() -> None:
        async with room:
            await client.create_flow_run_from_deployment(deployment, parameters={"path": str(line)})

    before = await ended(client)
    await asyncio.gather(*(make() for _ in range(number)))
    until = time.monotonic() + END_SECONDS
    while await ended(client) < before + number:
        if time.monotonic() > until:
            raise TimeoutError(f"{number} runs have not ended within {END_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)


async def ended(client: PrefectClient, *kinds: StateType) -> int:
    """How many runs have ended."""
    wanted = FlowRunFilterStateType(any_=list(kinds or TERMINAL_STATES))
    return await client.count_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=wanted))
    )


async def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both figures."""
    with (
        postgres_server() as url,
        PrefectServer(folder, database_url=url.replace("://", "+asyncpg://", 1)) as server,
    ):
        relay = CountingRelay(server.port)
        listening, port = await relay.serve()
        through = f"http://127.0.0.1:{port}/api"
        settings = {PREFECT_API_URL: server.url, PREFECT_HOME: server.home}
        async with listening:
            with temporary_settings(settings):
                async with get_client() as client:
                    return await with_worker(arguments, client, server, relay, through)


async def with_worker(
    arguments: argparse.Namespace,
    client: PrefectClient,
    server: PrefectServer,
    relay: CountingRelay,
    through: str,
) -> dict[str, Any]:
    """The same, with a server that runs."""
    await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    deployment = await client.create_deployment(
        flow_id=await client.create_flow_from_name("ignition-bench-first-line"),
        name="memory",
        work_pool_name=POOL,
        entrypoint="ignition_ext.bench.start_flows.first_line",
        pull_steps=[],
    )
    worker = WarmWorker(server, POOL, environment={"PREFECT_API_URL": through}, limit=AT_ONCE)
    try:
        await asyncio.to_thread(worker.start)
        idle = await left_alone(relay, arguments.idle)
        readings = []
        for done in range(arguments.each, arguments.runs + 1, arguments.each):
            await batch(client, deployment, arguments.each, server.folder / "line")
            readings.append((done, *await memory(worker.pid)))
            print(f"{done} runs: {readings[-1][1]} and {readings[-1][2]} kB", file=sys.stderr)
    finally:
        await asyncio.shield(asyncio.to_thread(worker.stop))
    return {
        "idle_requests_a_minute": idle,
        "runs": arguments.runs,
        "not_completed": await ended(client) - await ended(client, StateType.COMPLETED),
        "worker_kb": [size for _, size, _ in readings],
        "fork_server_kb": [size for *_, size in readings],
        "worker_kb_for_1000_runs": slope([(done, size) for done, size, _ in readings]),
        "fork_server_kb_for_1000_runs": slope([(done, size) for done, _, size in readings]),
    }


async def left_alone(relay: CountingRelay, seconds: float) -> dict[str, float]:
    """Requests a minute, by path and in all."""
    if not seconds:
        return {}
    await asyncio.sleep(SETTLE_SECONDS)
    before = relay.counted.copy()
    await asyncio.sleep(seconds)
    asked = relay.counted - before
    minute = {path: round(count * 60 / seconds, 1) for path, count in asked.most_common()}
    return {"all": round(asked.total() * 60 / seconds, 1), **minute}


async def memory(worker: int) -> tuple[int, int]:
    """The worker's and its fork server's, when no child shares theirs."""
    server = fork_server(worker)
    while True:
        if not children(server):
            return pss_kb(worker), pss_kb(server)
        await asyncio.sleep(LOOK_SECONDS)


def main() -> None:
    """Measure, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--each", type=int, default=100, help="runs between two readings")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds; 0 for not at all")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ignition-memory-") as folder:
        document = asyncio.run(measure(arguments, Path(folder)))
    if arguments.json:
        print(json.dumps(document))
        return
    for name, value in document.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
