"""Child processes of a benchmark: each is ended by its id, whatever happens to us."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from ignition_ext.errors import IgnitionError

STOP_SECONDS = 10
"""What a process may take to end by itself before it is killed."""


@asynccontextmanager
async def running(*command: str, stdin: int = PIPE, stdout: int = PIPE) -> AsyncIterator[Process]:
    """A process in a group of its own, so that Ctrl-C reaches it through us alone."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=stdout, start_new_session=True
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


async def ask(module: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Run one of this package's programs on a job; returns what it says.

    Raises:
        IgnitionError: it failed; its own words where it had some.
    """
    async with running(sys.executable, "-m", f"ignition_ext.bench.{module}") as process:
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
