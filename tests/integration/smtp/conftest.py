"""Servers that fail on purpose, and a journal in memory that is strict about the order."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme

from ignition_ext.channels.smtp import EmailEnvelope, SmtpOptions, SmtpTransport
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind, new_id


class MemoryJournal:
    """Holds the order of a transport's calls: intended once, settled once, in this order."""

    def __init__(self) -> None:
        self.refused: set[MessageId] = set()
        self.intended: list[MessageId] = []
        self._known: set[MessageId] = set()
        self.settled: dict[MessageId, Outcome] = {}
        self.most_open = 0
        self.on_intend: Callable[[MessageId], Awaitable[None]] | None = None
        self.on_settle: Callable[[Delivery], Awaitable[None]] | None = None

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        for each in ids:
            assert each not in self._known, "intended twice"
            if self.on_intend is not None:
                await self.on_intend(each)
        allowed = frozenset(ids) - self.refused
        self.intended += [each for each in ids if each in allowed]
        self._known |= allowed
        self.most_open = max(self.most_open, len(self.intended) - len(self.settled))
        return allowed

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.message_id in self._known, "settled without intent"
            assert delivery.message_id not in self.settled, "settled twice"
            if self.on_settle is not None:
                await self.on_settle(delivery)
            self.settled[delivery.message_id] = delivery.outcome

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        await self.settle(deliveries)
        return await self.intend(ids)

    @property
    def kinds(self) -> Counter[OutcomeKind]:
        return Counter(outcome.kind for outcome in self.settled.values())

    def ids(self, kind: OutcomeKind) -> set[MessageId]:
        return {each for each, outcome in self.settled.items() if outcome.kind is kind}


HANG_UP, RESET, SILENT = "hang up", "reset", "silent"
Action = str | bytes


@dataclass
class RawServer:
    """An SMTP server of a few lines that does as ``plan`` says, per stage.

    Stages are CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, BODY (first line), DOT, RSET, QUIT.
    An action is what to write instead, HANG_UP, RESET or SILENT; ``faults`` bounds how often.
    """

    plan: dict[str, Action] = field(default_factory=dict)
    faults: float = float("inf")
    extensions: Sequence[str] = ("8BITMIME", "SMTPUTF8")
    context: ssl.SSLContext | None = None
    whole: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    sessions: int = 0
    port: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, _Ended):
            await self._talk(reader, writer)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._answer("CONNECT", b"220 raw.example.com ESMTP\r\n", writer)
        recipient = ""
        while line := (await reader.readline()).decode():
            verb = line.split()[0].upper()
            self.commands.append(line.strip())
            match verb:
                case "EHLO" | "HELO":
                    lines = ["raw.example.com", *self.extensions]
                    text = "".join(f"250-{each}\r\n" for each in lines[:-1])
                    await self._answer("EHLO", f"{text}250 {lines[-1]}\r\n".encode(), writer)
                case "DATA":
                    with suppress(_Refused):
                        await self._answer("DATA", b"354 go\r\n", writer)
                        await self._body(reader, writer, recipient)
                case "STARTTLS":
                    await self._answer(verb, b"220 ready\r\n", writer)
                    assert self.context is not None
                    await writer.start_tls(self.context)
                case "AUTH":
                    await self._answer(verb, b"235 2.7.0 welcome\r\n", writer)
                case "QUIT":
                    await self._answer(verb, b"221 bye\r\n", writer)
                    return
                case _:
                    if verb == "RCPT":
                        recipient = line.partition("<")[2].partition(">")[0]
                    await self._answer(verb, b"250 2.0.0 Ok\r\n", writer)

    async def _body(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipient: str
    ) -> None:
        await self._answer("BODY", b"", writer)
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                raise _Ended
        self.whole.add(recipient)
        if await self._answer("DOT", b"250 2.0.0 Ok: queued as RAW123\r\n", writer):
            self.taken.add(recipient)

    async def _answer(self, stage: str, usual: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the usual answer was given."""
        action = self.plan.get(stage)
        if action is None or self.faults <= 0:
            writer.write(usual)
            await writer.drain()
            return True
        self.faults -= 1
        self.reached.set()
        if isinstance(action, bytes):
            writer.write(action)
            await writer.drain()
            if not action.endswith(b"\n") or action.startswith(b"421"):
                raise _Ended
            if stage == "DATA":
                raise _Refused
            return False
        if action == RESET:
            writer.transport.abort()
        if action == SILENT:
            await asyncio.Event().wait()
        raise _Ended


class _Ended(Exception):
    """The session is over."""


class _Refused(Exception):
    """DATA was not answered 354: no body follows."""


class Sender:
    """Messages to numbered recipients, handed to a transport."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.stop = asyncio.Event()
        self.addresses: dict[MessageId, str] = {}
        self.pulled = 0

    async def envelopes(
        self, recipients: Iterable[str], content: bytes
    ) -> AsyncIterator[EmailEnvelope]:
        for recipient in recipients:
            message_id = MessageId(new_id())
            self.addresses[message_id] = recipient
            self.pulled += 1
            yield EmailEnvelope(
                message_id=message_id,
                envelope_from="news@example.com",
                recipient=recipient,
                content=content,
            )

    async def send(
        self,
        transport: SmtpTransport,
        recipients: Iterable[str],
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
    ) -> None:
        await transport.deliver(self.envelopes(recipients, content), self.journal, self.stop)

    def with_outcome(self, kind: OutcomeKind) -> set[str]:
        return {self.addresses[each] for each in self.journal.ids(kind)}


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture(scope="session")
def new_journal() -> type[MemoryJournal]:
    """Makes journals, for tests that need one for each example."""
    return MemoryJournal


@pytest.fixture
def sender(journal: MemoryJournal) -> Sender:
    return Sender(journal)


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[..., Awaitable[RawServer]]]:
    """Starts a server with a plan; all are closed with their sessions at the end."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(**options: Any) -> RawServer:
        server = RawServer(**options)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.create_task(_guarded(server, reader, writer)))

        listening = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2**20)
        servers.append(listening)
        server.port = listening.sockets[0].getsockname()[1]
        return server

    yield start
    for listening in servers:
        listening.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _guarded(
    server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        await server.session(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture(scope="session")
def options() -> Callable[..., SmtpOptions]:
    """Options for a server on loopback, impatient enough for tests."""

    def make(port: int, **changes: Any) -> SmtpOptions:
        usual: dict[str, Any] = {
            "host": "127.0.0.1",
            "security": "none",
            "connections": 3,
            "connect_timeout": 5,
            "command_timeout": 5,
            "final_reply_timeout": 5,
            "reconnect_attempts": 3,
            "reconnect_base": 0.01,
            "reconnect_max": 0.05,
            "helo": "client.example.com",
        }
        return SmtpOptions(port=port, **{**usual, **changes})

    return make


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that only these tests trust."""
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """A server's side of TLS, for a host name."""

    def make(host: str = "127.0.0.1", issuer: trustme.CA | None = None, **more: Any) -> Any:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (issuer or authority).issue_cert(host, **more).configure_cert(context)
        return context

    return make


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    """A client's side of TLS, which trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def faults() -> dict[str, str]:
    return {"hang_up": HANG_UP, "reset": RESET, "silent": SILENT}


@pytest.fixture(autouse=True)
async def no_tasks_left() -> AsyncIterator[None]:
    """A transport leaves nothing running behind it."""
    yield
    names = ("SmtpDelivery.", "Feed.", "Wire.")
    left = [str(task.get_coro()) for task in asyncio.all_tasks()]
    assert [task for task in left if any(name in task for name in names)] == []
