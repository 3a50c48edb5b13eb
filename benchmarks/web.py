"""How many opens and clicks the pages take a second, and whether each is written.

``python benchmarks/web.py [--url URL] [--requests 20000] [--workers 2] [--connections 64]``

Starts ``ignition web`` on a fresh database, on SQLite and then on a PostgreSQL server of its own
(or on ``--url``), and asks it over loopback as fast as it answers, on connections that stay open:
half pixels, half links, each of another message. The asking takes processor time as well; on a
machine of its own the server has it for itself. Prints one JSON line for each database: requests a
second, milliseconds until the answer, the server's processor time for each request (its start
included; what else runs on the machine changes it little), wrong answers, and rows that were
written less than asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from statistics import quantiles
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import func
from sqlmodel import select

from ignition_ext.database import Database
from ignition_ext.devtools.postgres import postgres_server
from ignition_ext.links import LinkPlan
from ignition_ext.links.payload import CLICKS, OPENS, PEOPLE
from ignition_ext.models import TrackingEvent
from ignition_ext.schema import upgrade
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer
from ignition_ext.values import MessageId, new_id

KEY = "benchmark" * 4
AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
)
ANSWERS = (b"HTTP/1.1 200", b"HTTP/1.1 302")
START_SECONDS = 60
_LENGTH = re.compile(rb"content-length: (\d+)")
_ADDRESS = re.compile(r"running on (http://[\d.]+:\d+)")


def requests(count: int) -> list[bytes]:
    """What a browser or a proxy sends: each a message's pixel, or a link of another one."""
    settings = Settings(signing_key=KEY)
    links = LinkPlan(
        base="",
        tenant_id=1,
        people=Signer.of(PEOPLE, settings),
        clicks=Signer.of(CLICKS, settings),
        opens=Signer.of(OPENS, settings),
    )
    made = []
    for number in range(count):
        message = MessageId(new_id())
        path = links.pixel_url(message)
        if number % 2:
            url = f"https://shop.example/products/{number % 50}?utm_source=newsletter"
            path = links.click_url(message, url, is_personal=False)
        agent = AGENTS[number // 2 % 2]
        made.append(
            f"GET {path} HTTP/1.1\r\nHost: mail.example.com\r\nUser-Agent: {agent}\r\n"
            "Accept: */*\r\nAccept-Encoding: gzip\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n".encode()
        )
    return made


class Asker(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again."""

    def __init__(self, work: Iterator[bytes], taken: list[float], wrong: list[bytes]) -> None:
        self._work, self._taken, self._wrong = work, taken, wrong
        self._read, self._asked = b"", 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        length = _LENGTH.search(self._read)
        if end < 0 or length is None or len(self._read) < end + 4 + int(length[1]):
            return
        self._taken.append(time.perf_counter() - self._asked)
        if not self._read.startswith(ANSWERS):
            self._wrong.append(self._read)
        self._read = b""
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        request = next(self._work, None)
        if request is None:
            self._transport.close()
            return
        self._asked = time.perf_counter()
        self._transport.write(request)


@asynccontextmanager
async def serving(url: str, workers: int) -> AsyncIterator[str]:
    """``ignition web`` in processes of its own."""
    environment = os.environ | {
        "IGNITION_DATABASE_URL": url,
        "IGNITION_SIGNING_KEY": KEY,
        "IGNITION_WEB_URL": "https://mail.example.com",
    }
    program = "from ignition_ext.cli import main; main()"
    command = [sys.executable, "-c", program, "web", "--port", "0", "--workers", str(workers)]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    address, begun = "", 0
    async with asyncio.timeout(START_SECONDS):
        while not address or begun < workers:
            line = (await process.stderr.readline()).decode()
            found = _ADDRESS.search(line)
            address = found[1] if found else address
            begun += "Application startup complete" in line
    drain = asyncio.create_task(process.stderr.read())
    try:
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
        await drain


def processor_seconds() -> float:
    """What processes that have ended took: the server's, its start of about a second each too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def measure(
    url: str, asked: Sequence[bytes], *, workers: int, connections: int
) -> dict[str, object]:
    """One database: all requests, then the rows that came of them."""
    database = Database(url)
    await upgrade(database)
    taken: list[float] = []
    wrong: list[bytes] = []
    before = processor_seconds()
    async with serving(url, workers) as address:
        place, work = urlsplit(address), iter(asked)
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        made = [
            await loop.create_connection(
                lambda: Asker(work, taken, wrong), place.hostname, place.port
            )
            for _ in range(connections)
        ]
        await asyncio.gather(*(one.done for _, one in made))
        seconds = time.perf_counter() - began
    processor = processor_seconds() - before
    async with database.read() as session:
        rows = (await session.exec(select(func.count()).select_from(TrackingEvent))).one()
    await database.close()
    cuts = quantiles(taken, n=100)
    return {
        "database": database.dialect,
        "workers": workers,
        "requests": len(taken),
        "per_second": round(len(taken) / seconds),
        "p50_ms": round(cuts[49] * 1000, 1),
        "p99_ms": round(cuts[98] * 1000, 1),
        "processor_ms": round(processor / len(taken) * 1000, 3),
        "wrong": len(wrong),
        "missing": len(asked) - rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args()
    asked = requests(given.requests)
    how = {"workers": given.workers, "connections": given.connections}
    if given.url:
        print(json.dumps(asyncio.run(measure(given.url, asked, **how))))
        return
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ignition-{uuid4().hex[:8]}.db"
        print(json.dumps(asyncio.run(measure(url, asked, **how))), flush=True)
    with postgres_server() as url:
        print(json.dumps(asyncio.run(measure(url, asked, **how))))


if __name__ == "__main__":
    main()
