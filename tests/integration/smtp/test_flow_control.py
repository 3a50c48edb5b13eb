"""Servers that read or write too slowly: timeouts that hold, and what was handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ignition_ext.channels.smtp import SmtpTransport
from ignition_ext.values import OutcomeKind

K = OutcomeKind
_PEOPLE = [f"user{number}@example.com" for number in range(8)]
# More than all buffers between the two programs hold together.
_LARGE = b"Subject: large\r\n\r\n" + (b"y" * 76 + b"\r\n") * 150_000


@pytest.fixture(params=["plain", "pipelined", "pipelined TLS"])
def link(
    request: pytest.FixtureRequest,
    raw_server: Any,
    options: Any,
    server_context: Any,
    client_context: Any,
) -> Callable[..., Awaitable[tuple[Any, SmtpTransport]]]:
    """Starts a server and makes the transport to it, over one connection."""
    names = {"plain": (), "pipelined": ("PIPELINING",)}.get(
        request.param, ("PIPELINING", "STARTTLS")
    )
    secured = "STARTTLS" in names

    async def start(plan: dict[str, Any], **changes: Any) -> tuple[Any, SmtpTransport]:
        server = await raw_server(
            plan=plan, faults=1, extensions=("8BITMIME", *names), context=server_context()
        )
        security = {"security": "starttls", "tls_context": client_context} if secured else {}
        settings = options(server.port, connections=1, **security, **changes)
        return server, SmtpTransport(settings)

    return start


async def test_a_server_that_stops_reading(link: Any, sender: Any) -> None:
    """Its message is unsent after the timeout, and no further one is taken meanwhile."""
    server, transport = await link({"BODY": "silent"}, command_timeout=0.5)

    await sender.send(transport, _PEOPLE[:3], _LARGE)

    assert sender.journal.kinds == {K.UNSENT: 1, K.ACCEPTED: 2}
    assert sender.with_outcome(K.ACCEPTED) == server.taken
    unsent = next(o for o in sender.journal.settled.values() if o.kind is K.UNSENT)
    assert "taking the message" in unsent.text


async def test_little_is_taken_while_a_server_does_not_read(link: Any, sender: Any) -> None:
    """One message in the buffer, one intended behind it, and what is read ahead."""
    server, transport = await link({"BODY": "silent"})
    running = asyncio.create_task(sender.send(transport, _PEOPLE, _LARGE))

    await server.reached.wait()
    sender.stop.set()
    pulled = sender.pulled
    server.plan.clear()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert pulled <= 4
    assert set(sender.journal.kinds) == {K.UNSENT}
    assert len(sender.journal.settled) <= 2


async def test_a_dot_that_waited_in_our_buffer_is_handed_over(link: Any, sender: Any) -> None:
    """Read late and never answered: the server has it, so it is uncertain."""
    server, transport = await link({"DOT": "hang up"})

    await sender.send(transport, _PEOPLE[:3], _LARGE)

    assert sender.with_outcome(K.UNCERTAIN) == server.whole - server.taken
    assert sender.journal.kinds[K.UNCERTAIN] == 1
    assert sender.with_outcome(K.ACCEPTED) == server.taken


@pytest.mark.parametrize(("stage", "kind"), [("RCPT", K.UNSENT), ("DOT", K.UNCERTAIN)])
async def test_a_reply_that_trickles_is_late(
    stage: str, kind: OutcomeKind, link: Any, sender: Any
) -> None:
    """Letters that come in do not put the end off; only a whole reply does."""
    server, transport = await link({}, command_timeout=0.4, final_reply_timeout=0.4)
    usual, first = server._answer, True

    async def trickle(at: str, text: bytes, writer: Any) -> bool:
        nonlocal first
        if at != stage or not first:
            answered: bool = await usual(at, text, writer)
            return answered
        first = False
        writer.write(b"250-")
        while not writer.transport.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)
        raise ConnectionResetError

    server._answer = trickle
    await sender.send(transport, _PEOPLE[:4])

    assert sender.journal.kinds[kind] == 1
    assert "0.4 s for answering" in next(
        o.text for o in sender.journal.settled.values() if o.kind is kind
    )
    assert sender.with_outcome(K.ACCEPTED) == server.taken


async def test_a_reader_that_is_slow_and_moves_is_borne_with(raw_server: Any, options: Any,
                                                             sender: Any) -> None:  # fmt: skip
    """Longer for the whole body than the timeout of a stall."""
    server = await raw_server(extensions=("PIPELINING",))
    transport = SmtpTransport(options(server.port, connections=1, command_timeout=1.5))
    usual = server._body

    async def slowly(reader: Any, writer: Any, recipient: str) -> None:
        for _ in range(40):
            await reader.readexactly(64 * 1024 - 2)
            await asyncio.sleep(0.05)
        await usual(reader, writer, recipient)

    server._body = slowly
    await sender.send(transport, _PEOPLE[:1], _LARGE)

    assert sender.journal.kinds == {K.ACCEPTED: 1}
