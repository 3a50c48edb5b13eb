"""The far side of a benchmark: a server given, ``smtp-sink``, or a sink of our own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ignition_ext.bench.certificate import write_certificate
from ignition_ext.bench.child import running
from ignition_ext.bench.counting import HOST
from ignition_ext.bench.options import Address, BenchOptions
from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.referee import find_program
from ignition_ext.errors import ConfigurationError, IgnitionError
from ignition_ext.values import Channel

START_SECONDS = 30.0
"""Python starts in one; a busy machine takes many times that."""
BACKLOG = 512
_UNPRIVILEGED = "nobody"
_LAST = 200
"""Octets at the end of smtp-sink's running counters that hold the newest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """A server to send to.

    Attributes:
        name: what it is, for the report.
        count: messages (SMS: segments) that it took so far, None where it cannot tell.
    """

    name: str
    address: Address
    count: Callable[[], Awaitable[int | None]]


@asynccontextmanager
async def open_sink(options: BenchOptions) -> AsyncIterator[Sink]:
    """The server for these options; what is started here is ended here."""
    if options.target is not None:
        yield Sink(name=str(options.target), address=options.target, count=_unknown)
        return
    with tempfile.TemporaryDirectory(prefix="ignition-sink-") as name:
        folder = Path(name)
        if options.channel is Channel.SMS:
            starting = _own_sink("smsc_sink", "--delay-ms", str(options.delay_ms))
        elif options.security == "none" and (program := _installed("smtp-sink")):
            starting = _smtp_sink(program, folder)
        else:
            starting = _own_sink("smtp_sink", *_secured(options, folder))
        async with starting as sink:
            yield sink


def _installed(program: str) -> str | None:
    try:
        return find_program(program)
    except ConfigurationError:
        return None


def _secured(options: BenchOptions, folder: Path) -> tuple[str, ...]:
    if options.security == "none":
        return ()
    file = write_certificate(folder / "sink.pem", HOST)
    return ("--security", options.security, "--certificate", str(file))


async def _unknown() -> int | None:
    return None


@asynccontextmanager
async def _own_sink(module: str, *arguments: str) -> AsyncIterator[Sink]:
    command = (sys.executable, "-m", f"ignition_ext.bench.{module}", *arguments)
    async with running(*command) as process:
        assert process.stdout is not None
        port = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        if not port:
            raise IgnitionError(f"the sink {module} did not start; its words stand above.")

        async def count() -> int | None:
            return await _ask(process)

        address = Address(host=HOST, port=int(port))
        yield Sink(name=f"ignition_ext.bench.{module}", address=address, count=count)


async def _ask(process: Process) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()
    counts = json.loads(await process.stdout.readline())
    return int(counts["messages"])


@asynccontextmanager
async def _smtp_sink(program: str, folder: Path) -> AsyncIterator[Sink]:
    """Postfix's ``smtp-sink``, which writes a running counter (``-c``) that we read the end of."""
    address, counter = Address(host=HOST, port=free_port()), folder / "counter"
    options = ["-c"]
    if os.geteuid() == 0:
        options += ["-u", _UNPRIVILEGED]  # it refuses to stay root
    with counter.open("wb") as file:
        command = (program, *options, str(address), str(BACKLOG))
        async with running(*command, stdin=DEVNULL, stdout=file.fileno()) as process:
            await _greeted(address, process)

            async def count() -> int | None:
                return _newest(counter)

            yield Sink(name="smtp-sink", address=address, count=count)


async def _greeted(address: Address, process: Process) -> None:
    for _ in range(int(START_SECONDS * 20)):
        if process.returncode is not None:
            break
        try:
            reader, writer = await asyncio.open_connection(address.host, address.port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        try:
            if await reader.read(3):
                return
        finally:
            writer.close()
            await writer.wait_closed()
    raise IgnitionError(f"smtp-sink does not answer at {address}; its words stand above.")


def _newest(counter: Path) -> int:
    """The last ``mesg=N``; a line ends with CR alone."""
    with counter.open("rb") as file:
        file.seek(max(0, counter.stat().st_size - _LAST))
        lines = [line for line in file.read().split(b"\r") if line.count(b"=") == 3]
    return int(lines[-1].rpartition(b"mesg=")[2]) if lines else 0
