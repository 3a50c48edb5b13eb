"""The sinks answer the same however the network cuts what they are sent."""

from __future__ import annotations

import asyncio
import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.bench.counting import Counts
from ignition_ext.bench.smsc_sink import SinkSession
from ignition_ext.bench.smtp_sink import SinkConnection

MAIL = b"MAIL FROM:<a@x.org>\r\n"
BODY = b"Subject: x\r\n\r\n..dotted\r\n.not the end\r\nend.\r\n.\r\n"
SUBMIT = b"\0\5\0Acme\0\1\1%d\0" + bytes(9) + b"\5hello"


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False


def feed(protocol: asyncio.Protocol, octets: bytes, cuts: list[int]) -> bytes:
    wire = Wire()
    protocol.connection_made(wire)
    places = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        protocol.data_received(octets[start:end])
    return wire.written


@given(st.integers(1, 5), st.lists(st.integers(0, 10_000), max_size=20))
def test_mails_are_counted_and_answered_in_order(mails: int, cuts: list[int]) -> None:
    """Each command has one reply, the next envelope behind the final dot too."""
    counts = Counts()
    octets = b"EHLO me\r\n"
    for number in range(mails):
        octets += MAIL + b"RCPT TO:<b%d@x.org>\r\nDATA\r\n" % number + BODY
    written = feed(SinkConnection(counts, None), octets + b"QUIT\r\n", cuts)

    codes = [line[:3] for line in written.splitlines() if line[3:4] == b" "]
    each = [b"250", b"250", b"354", b"250"]
    assert codes == [b"220", b"250", *each * mails, b"221"]
    assert counts.messages == mails
    assert counts.recipients == {b"b%d@x.org" % number for number in range(mails)}


@given(st.integers(1, 5), st.lists(st.integers(0, 10_000), max_size=20))
def test_texts_are_counted_and_answered_in_order(texts: int, cuts: list[int]) -> None:
    """Bind, submit_sm, enquire_link and unbind, by their sequence numbers."""
    counts = Counts()
    bodies = [(9, b"me\0\0\0" + bytes(4)), *((4, SUBMIT % number) for number in range(texts))]
    bodies += [(0x15, b""), (6, b"")]
    octets = b"".join(
        struct.pack(">IIII", 16 + len(body), command, 0, sequence) + body
        for sequence, (command, body) in enumerate(bodies, 1)
    )
    written, answers = feed(SinkSession(counts, 0), octets, cuts), []
    while written:
        length, command, status, sequence = struct.unpack_from(">IIII", written)
        answers.append((command ^ 0x80000000, status, sequence))
        written = written[length:]

    assert sorted(answers, key=lambda answer: answer[2]) == [
        (command, 0, sequence) for sequence, (command, _) in enumerate(bodies, 1)
    ]
    assert counts.messages == texts
    assert counts.recipients == {b"%d" % number for number in range(texts)}
