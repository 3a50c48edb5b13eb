"""Processes beside the test, which begin together."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a script of this folder and waits until it is ready; it begins at a line on stdin."""
    started: list[asyncio.subprocess.Process] = []

    async def start_script(script: str, *arguments: object) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name(script)),
            *map(str, arguments),
            stdin=pipe,
            stdout=pipe,
        )
        started.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    yield start_script
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()
