"""How fast the SMTP transport is, with envelopes that are ready and a journal that stores nothing.

``python benchmarks/smtp_transport.py [--messages N] [--connections N] [--repeats N]
[--target HOST:PORT] [--round-trip SECONDS] [--turn SECONDS] [--writers N] [--only NAME …]``

Ours beside ``smtp-source -d``, aiosmtplib with as many persistent connections and smtplib with
one, all in one run against the same server: Postfix's smtp-sink, started here unless a target is
given. ``--round-trip`` puts ``delay_relay.py`` between; ``--turn`` makes the journal take so long
for each group, as a database does, and ``--writers`` stores so many groups side by side. Prints
one JSON document: the best of the repeats, messages a second and the sender's own processor time
for each message.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import aiosmtplib

from ignition_ext.channels.smtp import EmailEnvelope, SmtpOptions, SmtpTransport
from ignition_ext.values import Delivery, MessageId, new_id

CONTENT = b"Subject: a newsletter\r\nFrom: news@example.com\r\n\r\n" + (b"x" * 70 + b"\r\n") * 62
"""4.5 kB, as the text and HTML of a short newsletter have."""
SENDER = "news@example.com"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/postfix"


class GroupingJournal:
    """Grants everything and keeps nothing; a group of calls takes ``seconds`` together.

    As many groups as there are ``writers`` are stored side by side.
    """

    def __init__(self, seconds: float, writers: int) -> None:
        self.settled = 0
        self._seconds = seconds
        self._idle = writers
        self._waiting: list[asyncio.Future[None]] = []
        self._writers: set[asyncio.Task[None]] = set()

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Grant all."""
        await self._store()
        return frozenset(ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Count."""
        await self._store()
        self.settled += len(deliveries)

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Both at once."""
        await self._store()
        self.settled += len(deliveries)
        return frozenset(ids)

    async def _store(self) -> None:
        if not self._seconds:
            return
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append(stored)
        if self._idle:
            self._idle -= 1
            writer = asyncio.create_task(self._write())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        await stored

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            await asyncio.sleep(self._seconds)
            for stored in group:
                stored.set_result(None)
            await asyncio.sleep(0)
        self._idle += 1


async def ours(port: int, options: argparse.Namespace, *, pipelining: bool = True) -> None:
    """The transport as the engine uses it."""
    ready = [
        EmailEnvelope(
            message_id=MessageId(new_id()),
            envelope_from=SENDER,
            recipient=f"user{number}@example.com",
            content=CONTENT,
        )
        for number in range(options.messages)
    ]

    async def envelopes() -> AsyncIterator[EmailEnvelope]:
        for envelope in ready:
            yield envelope

    transport = SmtpTransport(
        SmtpOptions(
            host="127.0.0.1",
            port=port,
            security="none",
            connections=options.connections,
            pipelining=pipelining,
        )
    )
    journal = GroupingJournal(options.turn, options.writers)
    await transport.deliver(envelopes(), journal, asyncio.Event())
    if journal.settled != options.messages:
        raise RuntimeError(f"{journal.settled} of {options.messages} messages were settled")


async def with_aiosmtplib(port: int, options: argparse.Namespace) -> None:
    """Bytes ready, persistent connections side by side."""
    numbers = iter(range(options.messages))

    async def work() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        async with client:
            for number in numbers:
                await client.sendmail(SENDER, [f"user{number}@example.com"], CONTENT)

    await asyncio.gather(*(work() for _ in range(options.connections)))


def with_smtplib(port: int, options: argparse.Namespace) -> None:
    """Bytes ready, one persistent connection."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        for number in range(options.messages):
            client.sendmail(SENDER, [f"user{number}@example.com"], CONTENT)


def with_smtp_source(port: int, options: argparse.Namespace) -> None:
    """Postfix's own load generator, in C: persistent connections, one canned message."""
    source = shutil.which("smtp-source", path=PATH)
    if source is None:
        raise SystemExit("smtp-source is missing: install Debian's package postfix.")
    numbers = ("-s", str(options.connections), "-m", str(options.messages))
    command = [source, "-d", *numbers, "-l", str(len(CONTENT)), f"127.0.0.1:{port}"]
    subprocess.run(command, check=True)


def _in_loop(
    work: Callable[[int, argparse.Namespace], Awaitable[None]],
) -> Callable[[int, argparse.Namespace], None]:
    async def run(port: int, options: argparse.Namespace) -> None:
        await work(port, options)

    return lambda port, options: asyncio.run(run(port, options))


async def _one_by_one(port: int, options: argparse.Namespace) -> None:
    await ours(port, options, pipelining=False)


SENDERS: dict[str, Callable[[int, argparse.Namespace], None]] = {
    "ignition": _in_loop(ours),
    "smtp_source": with_smtp_source,
    "aiosmtplib": _in_loop(with_aiosmtplib),
    "ignition_one_by_one": _in_loop(_one_by_one),
    "smtplib": with_smtplib,
}


def measure(name: str, port: int, options: argparse.Namespace) -> dict[str, float]:
    """The best of some repeats, by each measure."""
    rates, costs = [], []
    for _ in range(options.repeats):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall, cpu = time.perf_counter(), time.process_time()
        SENDERS[name](port, options)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu += after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
        rates.append(options.messages / wall)
        costs.append(cpu / options.messages)
    return {
        "per_second": round(max(rates)),
        "cpu_microseconds_each": round(min(costs) * 1e6, 1),
    }


@contextlib.contextmanager
def _sink() -> Iterator[int]:
    """Postfix's smtp-sink on a free port; it must not be root."""
    sink = shutil.which("smtp-sink", path=PATH)
    if sink is None:
        raise SystemExit("smtp-sink is missing: install Debian's package postfix.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([sink, *user, f"127.0.0.1:{port}", "1000"])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _relay(target: str, round_trip: float) -> Iterator[int]:
    """The long link, in a process of its own."""
    program = str(Path(__file__).with_name("delay_relay.py"))
    command = [sys.executable, program, "--target", target, "--round-trip", str(round_trip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Measure each sender in turn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--target", metavar="HOST:PORT", help="a server; else our own smtp-sink")
    parser.add_argument("--round-trip", type=float, default=0, help="seconds; 0: no relay")
    parser.add_argument("--turn", type=float, default=0, help="seconds of a journal's group")
    parser.add_argument("--writers", type=int, default=1, help="groups stored side by side")
    parser.add_argument("--only", nargs="+", choices=list(SENDERS), default=list(SENDERS))
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        target = options.target or f"127.0.0.1:{stack.enter_context(_sink())}"
        if options.round_trip or not target.startswith("127.0.0.1:"):
            target = f"127.0.0.1:{stack.enter_context(_relay(target, options.round_trip))}"
        port = int(target.rpartition(":")[2])
        result = {name: measure(name, port, options) for name in options.only}
    settings = ("messages", "connections", "round_trip", "turn", "writers")
    print(json.dumps({each: getattr(options, each) for each in settings} | result))


if __name__ == "__main__":
    main()
