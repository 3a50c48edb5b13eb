"""Child processes of a benchmark: each is ended by its id, whatever happens to us."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from ignition_ext.devtools.stack import ChildProcess
from ignition_ext.errors import IgnitionError

STOP_SECONDS = 10
"""What a process may take to end by itself before it is killed."""


@asynccontextmanager
async def running(
    *command: str,
    stdin: int = PIPE,
    stdout: int = PIPE,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Process]:
    """A process in a group of its own, so that Ctrl-C reaches it through us alone.

    ``environment`` stands beside what this process has.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=stdin,
        stdout=stdout,
        env=None if environment is None else {**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        await asyncio.shield(end(process))


async def end(process: Process) -> None:
    """Close its stdin, ask it to end, and kill it if it does not."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def started(server: ChildProcess) -> AsyncIterator[None]:
    """A server that is waited for in a thread, while it comes up and while it ends."""
    try:
        await asyncio.to_thread(server.start)
        yield
    finally:
        await asyncio.shield(asyncio.to_thread(server.stop))


async def ask(
    module: str, job: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run one of this package's programs on a job; returns what it says.

    Args:
        module: its name in this package.
        job: what it is to do, as JSON on its stdin.
        environment: what it has beside ours.

    Raises:
        IgnitionError: it failed; its own words where it had some.
    """
    command = (sys.executable, "-m", f"ignition_ext.bench.{module}")
    async with running(*command, environment=environment) as process:
        told, _ = await process.communicate(json.dumps(job).encode())
        try:
            answer: dict[str, Any] = json.loads(told)
        except ValueError:
            raise IgnitionError(
                f"the process {module} ended with status {process.returncode} and no result.",
                mend="Its own words stand above.",
            ) from None
    if "error" in answer:
        raise IgnitionError(answer["error"], mend=answer.get("mend", ""))
    return answer


async def output_of(*command: str) -> int:
    """Run a program that says nothing worth hearing; returns its status."""
    async with running(*command, stdin=DEVNULL, stdout=DEVNULL) as process:
        return await process.wait()
