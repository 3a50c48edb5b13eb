"""Pipelining against a server that answers by a script, however the network cuts its replies."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ignition_ext.channels.smtp import EmailEnvelope, SmtpTransport
from ignition_ext.values import MessageId, OutcomeKind, new_id

K = OutcomeKind
HANG_UP = b""
_USUAL = {
    "MAIL": b"250 2.1.0 Ok\r\n",
    "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": b"354 go on\r\n",
    "VAIN": b"503 5.5.1 no valid recipients\r\n",
    "DOT": b"250-2.0.0 Ok:\r\n250 2.0.0 queued as SCRIPT12345\r\n",
    "LONE": b"554 5.5.1 no valid recipients\r\n",
    "RSET": b"250 2.0.0 Ok\r\n",
}
Script = dict[str, bytes]


@dataclass
class ScriptServer:
    """Answers the message from ``mNUMBER@…`` by the script of this number.

    Stages are those of ``_USUAL``: VAIN is DATA after a refusal, LONE the dot after it. HANG_UP
    and 421 end the session. ``style`` is how replies are written: ``merged`` into one piece,
    ``single``, ``bytes`` one octet at a time, ``late`` each after a while.
    """

    scripts: Sequence[Script] = ()
    style: str = "merged"
    extensions: Sequence[str] = ("PIPELINING", "8BITMIME")
    secured_extensions: Sequence[str] = ()
    context: ssl.SSLContext | None = None
    port: int = 0
    groups: list[list[str]] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    sessions: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ScriptServer]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.sessions.add(asyncio.create_task(self._session(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()
        for session in self.sessions:
            session.cancel()
        await asyncio.gather(*self.sessions, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                await _Talk(self, reader, writer).talk()
        finally:
            writer.transport.abort()


class _Talk:
    def __init__(
        self, server: ScriptServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.extensions = server.extensions
        self.number, self.valid = 0, False
        self.body: list[bytes] | None = None
        self.replies: list[bytes] = []
        self.ended = False

    async def talk(self) -> None:
        await self._say([b"220 script.example.com ESMTP\r\n"])
        rest = b""
        while not self.ended and (data := await self.reader.read(65536)):
            *lines, rest = (rest + data).split(b"\r\n")
            commands = [verb for line in lines if not self.ended and (verb := self._line(line))]
            self.server.groups.append(commands)
            replies, self.replies = self.replies, []
            await self._say(replies)
            if commands == ["STARTTLS"]:
                assert self.server.context is not None
                await self.writer.start_tls(self.server.context)
                self.extensions = self.server.secured_extensions

    async def _say(self, replies: list[bytes]) -> None:
        match self.server.style:
            case "merged":
                pieces = [b"".join(replies)]
            case "bytes":
                pieces = [bytes([octet]) for octet in b"".join(replies)]
            case _:
                pieces = replies
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.002 if self.server.style == "late" else 0)

    def _answer(self, stage: str) -> bytes:
        scripts = self.server.scripts
        script = scripts[self.number] if self.number < len(scripts) else {}
        reply = script.get(stage, _USUAL[stage])
        self.replies.append(reply)
        self.ended = not reply or reply.startswith(b"421")
        return reply

    def _line(self, line: bytes) -> str:
        """Answers; returns the verb if it was a command."""
        if self.body is not None:
            self._content(line)
            return ""
        verb = line.split(b" ")[0].decode()
        match verb:
            case "EHLO":
                names = ["script.example.com", *self.extensions]
                text = "".join(f"250-{name}\r\n" for name in names[:-1]) + f"250 {names[-1]}\r\n"
                self.replies.append(text.encode())
            case "MAIL":
                self.number = int(line.partition(b"<m")[2].partition(b"@")[0])
                self.valid = self._answer("MAIL").startswith(b"2")
            case "RCPT":
                assert f"<r{self.number}@".encode() in line
                self.valid = self._answer("RCPT").startswith(b"2") and self.valid
            case "DATA":
                if self._answer("DATA" if self.valid else "VAIN").startswith(b"354"):
                    self.body = []
            case "RSET":
                self.valid = False
                self._answer("RSET")
            case _:
                self.replies.append(b"220 go on\r\n" if verb == "STARTTLS" else b"221 bye\r\n")
                self.ended = verb == "QUIT"
        return verb

    def _content(self, line: bytes) -> None:
        assert self.body is not None
        if line != b".":
            self.body.append(line)
            return
        body, self.body = self.body, None
        if not self.valid:
            assert not body, "a message to nobody"
            self._answer("LONE")
            return
        self.valid = False
        self.server.whole.append(self.number)
        if self._answer("DOT").startswith(b"2"):
            self.server.accepted.append(self.number)


async def _deliver(
    options: Any, server: ScriptServer, journal: Any, messages: int, **changes: Any
) -> dict[int, Any]:
    """Outcomes by the message's number."""
    numbers: dict[MessageId, int] = {}

    async def envelopes() -> AsyncIterator[EmailEnvelope]:
        for number in range(messages):
            message_id = MessageId(new_id())
            numbers[message_id] = number
            yield EmailEnvelope(
                message_id=message_id,
                envelope_from=f"m{number}@example.com",
                recipient=f"r{number}@example.com",
                content=b"Subject: x\r\n\r\n..dots\r\n.\r\nend\r\n",
            )

    transport = SmtpTransport(options(server.port, **changes))
    await transport.deliver(envelopes(), journal, asyncio.Event())
    assert set(journal.settled) == set(journal.intended)
    return {numbers[each]: outcome for each, outcome in journal.settled.items()}


_SOFT, _HARD = b"450 4.7.1 later\r\n", b"550 5.1.1 unknown\r\n"
_BUSY = b"421 4.3.2 busy\r\n"


def _mostly(usual: str, *others: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from([_USUAL[usual]] * 2 * len(others) + list(others))


_SCRIPTS = st.fixed_dictionaries(
    {
        "MAIL": _mostly("MAIL", _SOFT, _BUSY, HANG_UP),
        "RCPT": _mostly("RCPT", _SOFT, _HARD, _HARD, _BUSY, HANG_UP),
        "DATA": _mostly("DATA", _SOFT, _HARD, _BUSY, HANG_UP),
        "VAIN": st.sampled_from([_USUAL["VAIN"], _USUAL["DATA"], _HARD, _BUSY, HANG_UP]),
        "DOT": _mostly("DOT", _SOFT, _HARD, _BUSY, HANG_UP),
        "LONE": st.sampled_from([_USUAL["LONE"], b"250 2.0.0 Ok\r\n", _BUSY, HANG_UP]),
        "RSET": _mostly("RSET", b"500 what?\r\n", _BUSY, HANG_UP),
    }
)


def _expected(script: Script) -> tuple[OutcomeKind, str]:
    """What RFC 5321 makes of this script: its first answer that is not the usual one decides."""
    for stage in ("MAIL", "RCPT", "DATA", "DOT"):
        reply = script[stage]
        if reply == HANG_UP:
            return (K.UNCERTAIN if stage == "DOT" else K.UNSENT), ""
        if reply[:1] in b"45":
            return (K.DEFERRED if reply[:1] == b"4" else K.REJECTED), reply[:3].decode()
    return K.ACCEPTED, "250"


@given(
    scripts=st.lists(_SCRIPTS, min_size=2, max_size=12),
    style=st.sampled_from(["merged", "single", "bytes", "late"]),
    connections=st.integers(1, 3),
    pipelining=st.sampled_from([True, True, False]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_script_settles_each_message_once_and_truly(
    scripts: list[Script],
    style: str,
    connections: int,
    pipelining: bool,
    options: Any,
    new_journal: Any,
) -> None:
    """As its own replies say, or unsent because a neighbour's ended the session; never otherwise.

    What the server accepted is what the journal says, and what it has whole beyond that is
    uncertain or was refused by it.
    """
    journal, server = new_journal(), ScriptServer(scripts, style)

    async def run() -> dict[int, Any]:
        async with server.listening():
            return await _deliver(
                options,
                server,
                journal,
                len(scripts),
                connections=connections,
                pipelining=pipelining,
                reconnect_attempts=1000,
                reconnect_base=0.001,
                reconnect_max=0.001,
            )

    outcomes = asyncio.run(run())

    assert outcomes.keys() == set(range(len(scripts)))
    for number, outcome in outcomes.items():
        if outcome.kind is not K.UNSENT:
            assert (outcome.kind, outcome.code) == _expected(scripts[number])
        else:
            assert number not in server.whole
    accepted = {number for number, outcome in outcomes.items() if outcome.kind is K.ACCEPTED}
    assert Counter(server.accepted) == Counter(accepted)
    assert max(Counter(server.whole).values(), default=0) <= 1
    assert journal.most_open <= connections * (2 if pipelining else 1)


@pytest.mark.parametrize("style", ["merged", "single", "bytes"])
async def test_the_next_commands_come_with_the_final_dot(
    style: str, options: Any, journal: Any
) -> None:
    """MAIL, RCPT and DATA in one piece; 40 messages take far fewer reads than commands."""
    async with ScriptServer(style=style).listening() as server:
        outcomes = await _deliver(options, server, journal, 40, connections=1)

    assert [outcome.kind for outcome in outcomes.values()] == [K.ACCEPTED] * 40
    assert {outcome.provider_id for outcome in outcomes.values()} == {"SCRIPT12345"}
    mail = [group for group in server.groups if "MAIL" in group]
    assert all(group == ["MAIL", "RCPT", "DATA"] for group in mail)
    assert len(server.groups) <= 2 * 40 + 3
    assert journal.most_open == 2


@pytest.mark.parametrize(
    ("extensions", "changes"),
    [(("8BITMIME",), {}), (("PIPELINING",), {"pipelining": False})],
    ids=["not announced", "switched off"],
)
async def test_one_by_one(
    extensions: Sequence[str], changes: dict[str, Any], options: Any, journal: Any
) -> None:
    """Never two commands at once, and one message a connection."""
    async with ScriptServer(extensions=extensions).listening() as server:
        outcomes = await _deliver(options, server, journal, 12, connections=2, **changes)

    assert [outcome.kind for outcome in outcomes.values()] == [K.ACCEPTED] * 12
    assert all(len(group) <= 1 for group in server.groups)
    assert journal.most_open <= 2


@pytest.mark.parametrize("before", [True, False])
async def test_what_counts_is_said_after_starttls(
    before: bool, options: Any, journal: Any, server_context: Any, client_context: Any
) -> None:
    """An announcement that is withdrawn under TLS does not count, one that comes then does."""
    names = ("PIPELINING", "STARTTLS") if before else ("STARTTLS", "8BITMIME")
    secured = ("8BITMIME",) if before else ("8BITMIME", "PIPELINING")
    server = ScriptServer(extensions=names, secured_extensions=secured, context=server_context())
    async with server.listening():
        await _deliver(
            options, server, journal, 12, security="starttls", tls_context=client_context
        )

    assert sorted(server.accepted) == list(range(12))
    assert any(len(group) > 1 for group in server.groups) == (not before)


async def test_a_connection_goes_on_while_results_are_stored(options: Any, journal: Any) -> None:
    """The second message is answered though the first one's result never gets stored."""
    settled = count(1)
    first_is_stored = asyncio.Event()

    async def hold_the_first(_: object) -> None:
        if next(settled) == 2:
            await first_is_stored.wait()

    async with ScriptServer().listening() as server:
        journal.on_settle = hold_the_first
        running = asyncio.create_task(_deliver(options, server, journal, 9, connections=1))
        while len(server.accepted) < 8:
            await asyncio.sleep(0.001)
            assert not running.done()
        first_is_stored.set()
        await running

    assert sorted(server.accepted) == list(range(9))
    assert journal.most_open == 2
