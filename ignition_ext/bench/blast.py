"""How fast a server takes messages at all: ready octets, nothing made, nothing kept.

``python -m ignition_ext.bench.blast`` reads a job as JSON on stdin and prints ``messages`` and
``seconds``. It shows whether the far side was the bottleneck of a benchmark.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from ignition_ext.bench.content import email_bytes, sms_samples

_HEADER = struct.Struct(">IIII")
_BIND, _SUBMIT, _RESPONSE = 0x00000009, 0x00000004, 0x80000000
_VERSION = 0x34
READY_SECONDS = 30.0


class Blast(asyncio.Protocol, ABC):
    """One connection that writes the next message as soon as one was taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.ready = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone, or we have."""
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("the server hung up"))

    def write(self, octets: bytes) -> None:
        """Hand octets to the socket."""
        assert self.transport is not None
        self.transport.write(octets)

    @abstractmethod
    def begin(self) -> None:
        """Write the first messages."""


class MailBlast(Blast):
    """SMTP with pipelining (RFC 2920): the next envelope follows the final dot."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._envelope = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
        self._message = content + b".\r\n" + self._envelope
        self._greeting = b""

    def data_received(self, data: bytes) -> None:
        """Each 354 asks for a message."""
        if self.ready.done():
            asked = data.count(b"354 ")
            self.taken += asked
            self.write(self._message * asked)
            return
        if not self._greeting:
            self.write(b"EHLO blast\r\n")
        self._greeting += data
        if b"\r\n250 " in self._greeting:
            self.ready.set_result(None)

    def begin(self) -> None:
        """Ask for the first 354."""
        self.write(self._envelope)


class SmsBlast(Blast):
    """A transceiver with a full window of submit_sm (SMPP 3.4 section 4.4.1)."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__()
        self._job, self._buffer, self._sequence = job, b"", 1
        number, text = sms_samples(1)[0]
        self._body = b"".join(
            (b"\0\5\0Acme\0\1\1", number.removeprefix("+").encode(), b"\0", bytes(9))
        ) + struct.pack("B", len(text))
        self._body += text.encode("ascii")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bind."""
        super().connection_made(transport)
        login = (self._job["system_id"], self._job["password"], "")
        body = b"".join(field.encode("ascii") + b"\0" for field in login)
        body += bytes((_VERSION, 0, 0, 0))
        self.write(_HEADER.pack(_HEADER.size + len(body), _BIND, 0, 1) + body)

    def data_received(self, data: bytes) -> None:
        """Each response makes room for one more."""
        buffer, start, answered = self._buffer + data, 0, 0
        while len(buffer) - start >= _HEADER.size:
            length, command, status, _ = _HEADER.unpack_from(buffer, start)
            if len(buffer) - start < length:
                break
            if command == _SUBMIT | _RESPONSE:
                answered += 1
            elif command == _BIND | _RESPONSE:
                self._bound(status)
            start += max(length, _HEADER.size)
        self._buffer = buffer[start:]
        self.taken += answered
        self._submit(answered)

    def _bound(self, status: int) -> None:
        if status:
            self.ready.set_exception(ConnectionError(f"the bind was refused: {status:#010x}"))
        else:
            self.ready.set_result(None)

    def begin(self) -> None:
        """Fill the window."""
        self._submit(self._job["window"])

    def _submit(self, count: int) -> None:
        length = _HEADER.size + len(self._body)
        pdus = []
        for _ in range(count):
            self._sequence += 1
            pdus.append(_HEADER.pack(length, _SUBMIT, 0, self._sequence) + self._body)
        if pdus:
            self.write(b"".join(pdus))


async def blast(job: dict[str, Any]) -> tuple[int, float]:
    """Messages taken, and in how many seconds."""
    loop = asyncio.get_running_loop()
    content = email_bytes() if job["channel"] == "email" else b""
    lanes = job["connections"] if content else job["binds"]
    protocols: list[Blast] = []
    make: Callable[[], Blast] = partial(MailBlast, content) if content else partial(SmsBlast, job)
    for _ in range(lanes):
        _, protocol = await loop.create_connection(make, job["host"], job["port"])
        await asyncio.wait_for(protocol.ready, READY_SECONDS)
        protocols.append(protocol)
    began = time.perf_counter()
    for protocol in protocols:
        protocol.begin()
    await asyncio.sleep(job["seconds"])
    taken, seconds = sum(one.taken for one in protocols), time.perf_counter() - began
    for protocol in protocols:
        if protocol.transport is not None:
            protocol.transport.abort()
    return taken, seconds


def main() -> int:
    """Blast the server that stdin names."""
    try:
        taken, seconds = asyncio.run(blast(json.load(sys.stdin)))
    except (OSError, TimeoutError) as error:
        json.dump({"error": f"the sink's own rate could not be measured: {error}"}, sys.stdout)
        return 1
    json.dump({"messages": taken, "seconds": seconds}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
