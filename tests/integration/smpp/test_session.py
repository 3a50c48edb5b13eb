"""The session alone, on a pair of sockets whose far end the test reads octet by octet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from ignition_ext.channels.smpp import SmppOptions, codec, packed
from ignition_ext.channels.smpp.message import Part, SmsInFlight
from ignition_ext.channels.smpp.session import Answer, Session
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.values import MessageId, new_id

Until = Callable[..., Awaitable[None]]


class Recorder:
    """Keeps what a session tells."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.lost_parts: list[tuple[Part, bool]] = []
        self.calls = 0

    def answered(self, answers: Sequence[Answer]) -> None:
        """Keep them; a part is told once."""
        self.calls += 1
        for answer in answers:
            assert answer.part not in self.told, "told twice"
            self.answers.append(answer)

    def lost(self, part: Part, reason: str, *, unsent: bool) -> None:
        """Keep it; a part is told once."""
        assert part not in self.told, "told twice"
        assert reason
        self.lost_parts.append((part, unsent))

    @property
    def told(self) -> list[Part]:
        """The parts whose end is known."""
        return [one.part for one in self.answers] + [part for part, _ in self.lost_parts]

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Answer nothing."""

    def changed(self) -> None:
        """Nobody waits."""


class Line:
    """A session and the far end of its connection."""

    def __init__(
        self, transport: asyncio.Transport, session: Session, recorder: Recorder, far: socket.socket
    ) -> None:
        self.transport, self.session = transport, session
        self.recorder, self.far = recorder, far

    def read_octets(self) -> bytes:
        """What reached the far end until now and was not read yet."""
        self.far.setblocking(False)
        octets = b""
        try:
            while chunk := self.far.recv(65536):
                octets += chunk
        except BlockingIOError:
            pass
        return octets

    def read_pdus(self) -> list[bytes]:
        """The whole PDUs in it."""
        octets = self.read_octets()
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
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: session, sock=near)
    yield Line(transport, session, recorder, far)
    session.abort("test is over")
    await session.wait_closed()
    far.close()


def part(octets: int = 140) -> Part:
    """A submit_sm."""
    address = codec.Address(text="4915112345678", ton=1, npi=1)
    submit = codec.Submit(
        source=address, destination=address, short_message=b"x" * octets, data_coding=0
    )
    return SmsInFlight(MessageId(new_id()), [packed.submit_body(submit)], 1).parts()[0]


def fill(line: Line, together: int) -> list[Part]:
    """Write until the socket takes no more; what was written."""
    written: list[Part] = []
    while line.session.is_writable:
        parts = [part() for _ in range(together)]
        line.session.submit(parts)
        written += parts
    return written


@pytest.mark.parametrize("together", [1, 3, 100, 1000])
async def test_only_parts_whose_last_octet_was_not_taken_are_unsent(
    line: Line, together: int
) -> None:
    """The far end counts: whole PDUs there, and uncertain parts here, are as many."""
    written = len(fill(line, together))
    line.session.abort("the link is lost")
    line.session.abort("and again")
    await line.session.wait_closed()

    unsent = [is_unsent for _, is_unsent in line.recorder.lost_parts]
    arrived = len(line.read_pdus())
    assert len(unsent) == written
    assert unsent == [False] * arrived + [True] * (written - arrived)
    assert arrived < written


@pytest.mark.parametrize("together", [1, 100])
async def test_a_link_that_breaks_by_itself_leaves_little_to_prove(
    line: Line, together: int
) -> None:
    """Nobody tells what went out of the buffer before: what may have arrived is not unsent."""
    written = len(fill(line, together))
    line.far.close()
    await line.session.wait_closed()

    unsent = [is_unsent for _, is_unsent in line.recorder.lost_parts]
    assert len(unsent) == written
    assert unsent == [False] * (written - 1) + [True]


@pytest.mark.parametrize("together", [1, 100])
async def test_what_stands_before_an_acknowledgement_may_have_arrived(
    line: Line, wait_until: Until, together: int
) -> None:
    """The far end reads each part whole; what we never got rid of is our answers to receipts."""
    written = len(fill(line, together))
    for number in range(2000):
        line.session.respond(codec.Header(command=5, status=0, sequence=number + 1), 0)
    line.far.setblocking(False)
    arrived = b""

    def read_on() -> bool:
        nonlocal arrived
        with suppress(BlockingIOError):
            arrived += line.far.recv(512)
        return submits(arrived) == written

    await wait_until(read_on)
    assert not line.session.is_writable
    line.far.close()
    await line.session.wait_closed()

    assert [is_unsent for _, is_unsent in line.recorder.lost_parts] == [False] * written


def submits(octets: bytes) -> int:
    """How many whole submit_sm these are, and perhaps a torn PDU."""
    count = at = 0
    while at + 16 <= len(octets):
        length, command, _, _ = wire.HEADER.unpack_from(octets, at)
        at += length
        count += command == wire.SUBMIT_SM and at <= len(octets)
    return count


@pytest.mark.parametrize("together", [1, 100])
async def test_once_the_socket_took_it_a_part_is_uncertain(
    line: Line, wait_until: Until, together: int
) -> None:
    """The far end reads on, the session may write again, then the link is lost."""
    written = fill(line, together)
    arrived = len(line.read_octets())
    whole = sum(len(one.body) + 16 for one in written)

    def read_on() -> bool:
        nonlocal arrived
        arrived += len(line.read_octets())
        return line.session.is_writable

    await wait_until(read_on)
    line.session.abort("the link is lost")
    await line.session.wait_closed()

    assert [is_unsent for _, is_unsent in line.recorder.lost_parts] == [False] * len(written)
    assert arrived + len(line.read_octets()) == whole


async def test_an_answer_finds_its_part_whatever_the_order(line: Line, wait_until: Until) -> None:
    """By sequence number; what answers nothing is dropped."""
    parts = [part() for _ in range(3)]
    line.session.submit(parts[:1])
    line.session.submit(parts[1:])
    sequences = [wire.HEADER.unpack_from(pdu)[3] for pdu in line.read_pdus()]
    for number in (*reversed(sequences), sequences[0], 999):
        line.far.send(wire.pack(0x80000004, 0, number, wire.string(f"id{number}")))
    await wait_until(lambda: len(line.recorder.answers) == 3)

    assert sequences == [1, 2, 3]
    assert line.recorder.answers == [
        Answer(parts[number - 1], 0, f"id{number}") for number in (3, 2, 1)
    ]
    assert line.session.in_flight == 0


async def test_what_comes_together_is_told_together(line: Line) -> None:
    """One call for a window of answers, and none is lost that stands before a broken length."""
    parts = [part() for _ in range(50)]
    line.session.submit(parts)
    octets = b"".join(wire.pack(0x80000004, 0, n, wire.string(f"id{n}")) for n in range(1, 41))
    line.far.send(octets + b"\xff" * 16)
    await line.session.wait_closed()

    assert [one.part for one in line.recorder.answers] == parts[:40]
    assert line.recorder.calls == 1
    assert [one for one, _ in line.recorder.lost_parts] == parts[40:]
    assert line.session.is_garbled


async def test_what_is_written_in_one_turn_goes_out_in_one_piece(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty receipts come in one piece, and their fifty answers go out in one."""
    pieces: list[bytes] = []
    write = line.transport.write

    def count(octets: bytes) -> None:
        pieces.append(octets)
        write(octets)

    monkeypatch.setattr(line.transport, "write", count)
    for number in range(50):
        line.session.respond(codec.Header(command=5, status=0, sequence=number + 1), 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert len(pieces) == 1
    assert [wire.HEADER.unpack_from(pdu)[3] for pdu in line.read_pdus()] == list(range(1, 51))


async def test_no_part_has_a_timer_of_its_own(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred unanswered parts in ten pieces cost one timer."""
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def count(when: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *rest, **more)

    monkeypatch.setattr(loop, "call_at", count)
    for _ in range(10):
        line.session.submit([part(0) for _ in range(10)])

    assert line.session.in_flight == 100
    assert len(timers) == 1
