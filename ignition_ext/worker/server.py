"""The fork server as the worker sees it: started, asked for children, renewed when out of date."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from prefect.settings import get_current_settings

from ignition_ext.errors import IgnitionError
from ignition_ext.worker.job import LENGTH, Job, encode, job_message
from ignition_ext.worker.preload import Stamp, changed_file

READY_SECONDS = 120.0
"""Imports take 3 s on an idle processor; a node that starts many things at once is slower."""
UNKNOWN_STATUS = 255
"""Exit status of a child whose fork server was killed: only its parent could have known it."""
_START = "import sys; del sys.path[0]; from ignition_ext.worker.forking import main; main()"


class ForkServerError(IgnitionError):
    """There is no fork server, or it cannot fork."""


class ForkedProcess:
    """A child of the fork server.

    Attributes:
        pid: its process id, which is also its group's.
        returncode: None while it runs; negative for a signal, as with ``subprocess``.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def ended(self, status: int) -> None:
        """Note how it ended."""
        self.returncode = status
        self._ended.set()

    async def wait(self) -> int:
        """Wait for its end; returns the exit status."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class ForkServer:
    """One process of the fork server.

    Args:
        known: settings of Prefect's that its children will have, unless they are made elsewhere.

    Attributes:
        failed: modules that it could not preload, with reasons.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = known or {}
        self.failed: Sequence[str] = ()
        self.pid = 0
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[ForkedProcess]] = {}
        self._children: dict[int, ForkedProcess] = {}
        self._stamps: Sequence[Stamp] = ()
        self._process: Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._torn = self._closing = False

    async def start(self, also: Sequence[str] = ()) -> None:
        """Start it and wait until it can fork.

        Args:
            also: further modules to preload.

        Raises:
            ForkServerError: it ended, or was not ready in time.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _START,
                str(theirs.fileno()),
                *also,
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=self._environment(),
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self.pid = self._process.pid
        try:
            async with asyncio.timeout(READY_SECONDS):
                ready = await _next(reader)
        except TimeoutError:
            ready = None
        if ready is None:
            await self.kill()
            raise ForkServerError(
                "the fork server did not start.", mend="Its own words stand above."
            )
        if ready["threads"]:
            await self.kill()
            raise ForkServerError(
                f"preloading started threads ({', '.join(ready['threads'])}), which no fork keeps.",
                mend="Leave the module that starts them out of IGNITION_WORKER_PRELOAD.",
            )
        self.failed, self._torn = ready["failed"], ready["torn"]
        self._stamps = [(path, changed, size) for path, changed, size in ready["stamps"]]
        self._listener = asyncio.create_task(self._listen(reader))

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        listening = self._listener is not None and not self._listener.done()
        return listening and not self._closing

    def out_of_date(self) -> str | None:
        """The file that is not what was preloaded any more, if there is one."""
        return (
            "a file that changed while it was loaded" if self._torn else changed_file(self._stamps)
        )

    async def fork(self, job: Job) -> ForkedProcess:
        """Fork a child for a job.

        Raises:
            ForkServerError: it died, or the system has no room for another process.
        """
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            if not self.alive or self._writer is None:
                raise ForkServerError("the fork server has died.")
            with suppress(ConnectionError):  # the listener says it
                self._writer.write(encode(job_message(number, job)))
                await self._writer.drain()
            process: ForkedProcess = await answer
            return process
        finally:
            self._asked.pop(number, None)

    async def close(self) -> None:
        """Let it go: it forks what it was asked for, and ends when its last child has ended.

        Returns at once where there are children, or will be: nobody waits for their runs.
        """
        self._closing = True
        if self._writer is not None:
            with suppress(OSError):
                self._writer.write_eof()
        if not (self._children or self._asked):
            await self._finish()

    async def kill(self) -> None:
        """End it at once; its children go on."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._finish()

    async def _finish(self) -> None:
        if self._process is not None:
            await self._process.wait()
        if self._listener is not None:
            await asyncio.gather(self._listener, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Hand on what the server says, until it has gone."""
        try:
            while (message := await _next(reader)) is not None:
                self._heard(message)
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(ForkServerError("the fork server died while it forked."))
            for number in list(self._children):
                self._watch_orphan(self._children.pop(number))
            if self._writer is not None:
                self._writer.close()

    def _heard(self, message: dict[str, Any]) -> None:
        number = message["number"]
        if "status" in message:
            self._children.pop(number).ended(message["status"])
            return
        answer = self._asked.get(number)
        if "error" in message:
            if answer is not None and not answer.done():
                answer.set_exception(ForkServerError(f"no process: {message['error']}."))
            return
        process = ForkedProcess(message["pid"])
        self._children[number] = process
        if answer is not None and not answer.done():
            answer.set_result(process)
            return
        with suppress(ProcessLookupError):  # whoever asked for it has gone meanwhile
            os.killpg(process.pid, signal.SIGTERM)

    def _environment(self) -> dict[str, str]:
        """Ours, with our settings said in full, as the children will have them."""
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        return {**self._known, **os.environ, **settings}

    def _watch_orphan(self, process: ForkedProcess) -> None:
        watch = asyncio.create_task(_outlive(process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)


async def _outlive(process: ForkedProcess) -> None:
    """Wait for a child whose parent, the fork server, was killed."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        process.ended(UNKNOWN_STATUS)
        return
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.ended(_adopted_status(process.pid))


def _adopted_status(pid: int) -> int:
    """Its exit status where it has become our child: a container's first process adopts."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return UNKNOWN_STATUS
    return os.waitstatus_to_exitcode(status) if done else UNKNOWN_STATUS


async def _next(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message; None at the end."""
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    message: dict[str, Any] = json.loads(body)
    return message
