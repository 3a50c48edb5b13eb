"""The session alone, on a pair of sockets whose far end the test reads octet by octet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ignition_ext.channels.smpp import SmppOptions, codec
from ignition_ext.channels.smpp.message import Part, SmsInFlight
from ignition_ext.channels.smpp.session import Answer, NoAnswer, Session
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.values import MessageId, new_id

Until = Callable[..., Awaitable[None]]


class Recorder:
    """Keeps what a session tells."""

    def __init__(self) -> None:
        self.told: list[tuple[Part, Answer | NoAnswer]] = []

    def answered(self, part: Part, answer: Answer | NoAnswer) -> None:
        """Keep it; a part is told once."""
        assert part not in [one for one, _ in self.told], "told twice"
        self.told.append((part, answer))

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Answer nothing."""

    def changed(self) -> None:
        """Nobody waits."""


class Line:
    """A session and the far end of its connection."""

    def __init__(self, session: Session, recorder: Recorder, far: socket.socket) -> None:
        self.session, self.recorder, self.far = session, recorder, far

    def read_pdus(self) -> list[bytes]:
        """The whole PDUs that reached the far end until now."""
        self.far.setblocking(False)
        octets = b""
        try:
            while chunk := self.far.recv(65536):
                octets += chunk
        except BlockingIOError:
            pass
        pdus = []
        while len(octets) >= 4 and len(octets) >= int.from_bytes(octets[:4], "big"):
            length = int.from_bytes(octets[:4], "big")
            pdus.append(octets[:length])
            octets = octets[length:]
        return pdus


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """A session whose socket takes little."""
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    recorder = Recorder()
    options = SmppOptions(host="far", system_id="s")
    session = Session(options, recorder)
    await asyncio.get_running_loop().create_connection(lambda: session, sock=near)
    yield Line(session, recorder, far)
    session.abort("test is over")
    await session.wait_closed()
    far.close()


def part() -> Part:
    """A submit_sm."""
    address = codec.Address(text="4915112345678", ton=1, npi=1)
    submit = codec.Submit(
        source=address, destination=address, short_message=b"x" * 140, data_coding=0
    )
    return SmsInFlight(MessageId(new_id()), [submit], 1).parts[0]


async def test_only_the_part_whose_last_octet_was_not_taken_is_unsent(line: Line) -> None:
    """The far end counts: whole PDUs there, and uncertain parts here, are as many."""
    written = 0
    while line.session.is_writable:
        line.session.submit(part())
        written += 1
    line.session.abort("the link is lost")
    await line.session.wait_closed()

    told = [answer for _, answer in line.recorder.told]
    assert [answer.unsent for answer in told if isinstance(answer, NoAnswer)] == [
        *[False] * (written - 1),
        True,
    ]
    assert len(line.read_pdus()) == written - 1


async def test_once_the_socket_took_it_a_part_is_uncertain(line: Line, wait_until: Until) -> None:
    """The far end reads on, the session may write again, then the link is lost."""
    written = 0
    while line.session.is_writable:
        line.session.submit(part())
        written += 1
    arrived = len(line.read_pdus())
    await wait_until(lambda: line.session.is_writable)
    line.session.abort("the link is lost")
    await line.session.wait_closed()

    assert not [one for _, one in line.recorder.told if isinstance(one, NoAnswer) and one.unsent]
    assert len(line.recorder.told) == written
    assert arrived + 1 == written


async def test_an_answer_finds_its_part_whatever_the_order(line: Line, wait_until: Until) -> None:
    """By sequence number; what answers nothing is dropped."""
    parts = [part() for _ in range(3)]
    for one in parts:
        line.session.submit(one)
    sequences = [wire.HEADER.unpack_from(pdu)[3] for pdu in line.read_pdus()]
    for number in (*reversed(sequences), sequences[0], 999):
        line.far.send(wire.pack(0x80000004, 0, number, wire.string(f"id{number}")))
    await wait_until(lambda: len(line.recorder.told) == 3)

    assert sequences == [1, 2, 3]
    assert line.recorder.told == [
        (parts[number - 1], Answer(status=0, message_id=f"id{number}")) for number in (3, 2, 1)
    ]
    assert line.session.in_flight == 0
