"""An SMSC that takes everything and keeps nothing, written from SMPP 3.4 with ``struct``.

``python -m ignition_ext.bench.smsc_sink [--delay-ms N]``
"""

from __future__ import annotations

import argparse
import asyncio
import struct

from ignition_ext.bench.counting import Counts, serve

_HEADER = struct.Struct(">IIII")
_SUBMIT, _RESPONSE = 0x00000004, 0x80000000
_BINDS = frozenset({1, 2, 9})
"""bind_receiver, bind_transmitter, bind_transceiver: SMPP 3.4 section 5.1.2.1."""


class SinkSession(asyncio.Protocol):
    """One bind; what one read brings is answered in one write."""

    def __init__(self, counts: Counts, delay: float) -> None:
        self._counts, self._delay = counts, delay
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole PDU."""
        buffer, start = self._buffer + data, 0
        at_once: list[bytes] = []
        later: list[bytes] = []
        while len(buffer) - start >= _HEADER.size:
            length, command, _, sequence = _HEADER.unpack_from(buffer, start)
            if length < _HEADER.size or len(buffer) - start < length:
                break
            if command == _SUBMIT:
                later.append(self._take(buffer, start + _HEADER.size, sequence))
            elif not command & _RESPONSE:
                at_once.append(self._answer(command, sequence))
            start += length
        self._buffer = buffer[start:]
        if self._delay and later:
            asyncio.get_running_loop().call_later(self._delay, self._write, b"".join(later))
            later = []
        self._write(b"".join((*at_once, *later)))

    def _take(self, buffer: bytes, start: int, sequence: int) -> bytes:
        """Count one submit_sm (section 4.4.1), and the number that it goes to."""
        source = buffer.index(b"\0", start) + 3  # behind service_type and source's TON and NPI
        number = buffer.index(b"\0", source) + 3
        self._counts.recipients.add(buffer[number : buffer.index(b"\0", number)])
        self._counts.messages += 1
        key = b"%x\0" % self._counts.messages
        head = _HEADER.pack(_HEADER.size + len(key), _SUBMIT | _RESPONSE, 0, sequence)
        return head + key

    def _answer(self, command: int, sequence: int) -> bytes:
        body = b"sink\0" if command in _BINDS else b""
        return _HEADER.pack(_HEADER.size + len(body), command | _RESPONSE, 0, sequence) + body

    def _write(self, octets: bytes) -> None:
        if octets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--delay-ms", type=float, default=0, help="how late it answers submit_sm")
    arguments = parser.parse_args()
    counts = Counts()
    asyncio.run(serve(lambda: SinkSession(counts, arguments.delay_ms / 1000), counts))


if __name__ == "__main__":
    main()
