"""A press: makes a run's emails in a process of its own, beside the one that sends them.

Rendering and composing are half of a sender's work, and Python does one thing at a time in a
process. A large run therefore gets a second process, over a socket pair: it takes recipients' data
in groups and gives back emails. It knows no database and no server, and what it holds is only
claimed, so when it dies nothing is lost: the sender goes on by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any

from ignition_ext.channels.smtp import EmailEnvelope
from ignition_ext.channels.transport import Journal
from ignition_ext.delivery.envelopes import EnvelopeFeed, Take, refuse
from ignition_ext.delivery.workshop import EmailWorkshop
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.templates.email_maker import EmailRecipe
from ignition_ext.templates.press_worker import Result, Task

WORTH_FROM = 3000
"""Messages that a run must have left: starting a press takes as long as making so many of them."""
GROUP = 32
"""Messages that go to the press at once: 3 ms of its time, and one waking of the sender."""
GROUPS = 3
"""Groups on their way: one that is being made, and one at either end."""
LARGEST = 100_000
"""Octets of an email: copying larger ones from process to process costs more than making them,
which is mostly the same attachment each time."""
WORKER = "ignition_ext.templates.press_worker"
PATIENCE_SECONDS = 60.0
"""For one group; a template's own limits end it long before."""
_BUFFER = 1 << 20
_log = logging.getLogger(__name__)
_HEAD = struct.Struct("!i")
_FAILURES = (OSError, EOFError, TimeoutError, pickle.PickleError)


class Press:
    """The process of one run, kept from batch to batch; ``close()`` when the run is over.

    Args:
        worth_from: messages that a run must have left for it; None never starts one.
    """

    def __init__(self, *, worth_from: int | None = WORTH_FROM) -> None:
        self._worth_from = worth_from if _processors() > 1 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self.is_ready = False

    def __enter__(self) -> Press:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @asynccontextmanager
    async def feed(
        self,
        recipe: EmailRecipe,
        workshop: EmailWorkshop,
        take: Take,
        journal: Journal,
        stopped: Callable[[], bool],
        *,
        waiting: int,
    ) -> AsyncIterator[AsyncIterator[EmailEnvelope]]:
        """The envelopes of one batch, made by the press where that is worth it.

        Args:
            recipe: what the run's emails are made of, the same for all its batches.
            workshop: makes them here, until the press is ready and when it is gone.
            take: the next claimed message.
            journal: where a message is settled that cannot be made.
            stopped: whether to end early.
            waiting: messages that are still to be sent, about.
        """
        if self._socket is None and self._is_worth(recipe, waiting):
            try:
                self._start(recipe)
            except OSError as error:
                _log.warning("emails are made without a process of their own: %s", error)
                self.give_up()
        if self._socket is None:
            yield EnvelopeFeed(take, workshop, journal, stopped)
            return
        reader, writer = await asyncio.open_connection(sock=self._socket.dup(), limit=_BUFFER)
        feed = _PressedFeed(self, reader, writer, take, workshop, journal, stopped)
        try:
            yield feed
        finally:
            await feed.close()

    @property
    def process_id(self) -> int | None:
        """Of its process, while there is one."""
        return None if self._process is None else self._process.pid

    def _is_worth(self, recipe: EmailRecipe, waiting: int) -> bool:
        if self._worth_from is None or waiting < self._worth_from:
            return False
        files = (*recipe.attachments, *recipe.inline)
        return sum(len(file.content) for file in files) <= LARGEST

    def _start(self, recipe: EmailRecipe) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            for end in (self._socket, theirs):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    end.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", WORKER, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Where this process found its modules: the same ones for both.
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._socket.sendall(frame(recipe))

    def give_up(self) -> None:
        """End the process, and start no other one."""
        self._worth_from = None
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.is_ready = False
        if process is not None:
            process.kill()
            process.wait()


class _PressedFeed(AsyncIterator[EmailEnvelope]):
    """The envelopes of a batch; several may ask at once."""

    def __init__(
        self,
        press: Press,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        take: Take,
        workshop: EmailWorkshop,
        journal: Journal,
        stopped: Callable[[], bool],
    ) -> None:
        self._press, self._reader, self._writer = press, reader, writer
        self._take, self._journal, self._stopped = take, journal, stopped
        self._here = EnvelopeFeed(self._next, workshop, journal, stopped)
        self._turn = asyncio.Lock()
        self._is_exhausted = False
        self._sent: deque[list[ClaimedMessage]] = deque()
        self._made: deque[tuple[ClaimedMessage, Result]] = deque()
        self._returned: deque[ClaimedMessage] = deque()
        self._size: int | None = None
        self._hello: asyncio.Task[bool] | None = None
        if not press.is_ready:
            self._hello = asyncio.create_task(self._greeted(), name="press")

    async def __anext__(self) -> EmailEnvelope:
        while not self._stopped():
            if not self._made:
                if self._returned or not self._is_usable():
                    return await anext(self._here)
                async with self._turn:
                    await self._refill()
                if self._is_exhausted and not (self._made or self._sent or self._returned):
                    break
                continue
            message, result = self._made.popleft()
            match result:
                case (envelope_from, recipient, content, smtputf8):
                    return EmailEnvelope(
                        message_id=message.id,
                        envelope_from=envelope_from,
                        recipient=recipient,
                        content=content,
                        smtputf8=smtputf8,
                    )
                case (failure, text):
                    await refuse(self._journal, message, failure, text)
                case None:
                    self._returned.append(message)
        raise StopAsyncIteration

    async def close(self) -> None:
        """Leave the press as the next batch may use it: with nothing on its way."""
        if self._hello is not None and not self._hello.done():
            self._hello.cancel()
            self._press.close()
        try:
            with suppress(*_FAILURES):  # it died meanwhile; nobody waits for what it had
                while self._sent and self._press.is_ready:
                    await self._receive()
        finally:
            if self._sent:
                self._press.give_up()
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()

    def _is_usable(self) -> bool:
        hello = self._hello
        if hello is not None and hello.done():
            self._hello, self._press.is_ready = None, hello.result()
        return self._press.is_ready

    async def _greeted(self) -> bool:
        try:
            return await self._read() is None
        except _FAILURES:
            self._press.give_up()
            return False

    async def _next(self) -> ClaimedMessage | None:
        return self._returned.popleft() if self._returned else await self._take()

    async def _refill(self) -> None:
        """Keep the press busy, and take what it has made."""
        if self._made:
            return
        while len(self._sent) < GROUPS and not self._is_exhausted:
            group = await self._group()  # what fails here is not the press
            if group and not await self._post(group):
                return
        if self._sent:
            try:
                await self._receive()
            except _FAILURES:
                self._fail()

    async def _group(self) -> list[ClaimedMessage]:
        """The next messages to be made."""
        group: list[ClaimedMessage] = []
        while len(group) < GROUP and not self._is_exhausted:
            message = await self._take()
            if message is None:
                self._is_exhausted = True
            else:
                group.append(message)
        return group

    async def _post(self, group: list[ClaimedMessage]) -> bool:
        """Hand a group to the press; False when it is gone."""
        self._sent.append(group)
        try:
            self._writer.write(frame([_task(message) for message in group]))
            await self._writer.drain()
        except _FAILURES:
            self._fail()
            return False
        return True

    async def _receive(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            results: list[Result] = await self._read()
        self._made.extend(zip(self._sent.popleft(), results, strict=True))
        _, newest = self._made[-1]
        if newest is not None and len(newest) > 2 and len(newest[2]) > LARGEST:
            self._fail()

    async def _read(self) -> Any:
        """The next frame; whoever is cancelled meanwhile has read nothing of it."""
        if self._size is None:
            (self._size,) = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
        octets = await self._reader.readexactly(self._size)
        self._size = None
        return pickle.loads(octets)  # noqa: S301 - of a process that this one started

    def _fail(self) -> None:
        """Go on without the press."""
        self._press.give_up()
        while self._sent:
            self._returned.extend(self._sent.popleft())


def frame(content: object) -> bytes:
    """A pickle with its length, as ``multiprocessing.connection`` writes it."""
    octets = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(octets)) + octets


def _task(message: ClaimedMessage) -> Task:
    return message.id.bytes, message.address, message.locale, message.timezone, message.document


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
