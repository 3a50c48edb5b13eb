"""What one connection writes: joined into few pieces, and what of it provably did not go out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence


class Outbox:
    """Writes to a transport, once a turn of the loop.

    Attributes:
        is_paused: whether the socket took less than it was given.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._is_secure = isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        if not self._is_secure:
            # High water 0: the socket's "would block" is seen at once, so that a part whose last
            # octet was not taken can be told from one that may have arrived.
            transport.set_write_buffer_limits(high=0)
        self._output: list[bytes] = []
        self._handed = 0
        self._unflushed: list[tuple[int, int]] = []
        self._unsent: frozenset[int] | None = None
        self.is_paused = False

    @property
    def is_writable(self) -> bool:
        """Whether the socket takes octets now, rather than asyncio's buffer."""
        return not self.is_paused and not self._transport.is_closing()

    def write(self, octets: bytes) -> None:
        """Write at the end of this turn of the loop, together with what else comes until then."""
        if not self._output:
            self._loop.call_soon(self.flush)
        self._output.append(octets)

    def write_parts(self, pdus: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Write PDUs now and in one piece; each is a sequence number, a header and a body."""
        for _, header, body in pdus:
            self._output += (header, body)
        self.flush()
        if self.is_paused:
            self._note_unflushed(pdus)

    def flush(self) -> None:
        """Hand over what waits; a connection that is ending takes nothing more."""
        output, self._output = self._output, []
        if output and not self._transport.is_closing():
            octets = b"".join(output)
            self._handed += len(octets)
            self._transport.write(octets)

    def resume(self) -> None:
        """The socket took the rest."""
        self.is_paused = False
        self._unflushed.clear()

    def abort(self) -> None:
        """End the connection at once, what is buffered is thrown away."""
        if not self._transport.is_closing():
            taken = self._handed - self._transport.get_write_buffer_size()
            self._unsent = frozenset(one for end, one in self._unflushed if end > taken)
        self._transport.abort()

    def close(self) -> None:
        """End the connection once all is written."""
        self.flush()
        self._transport.close()

    def provably_unsent(self) -> frozenset[int]:
        """Sequence numbers of the parts whose last octet was not written.

        When the link broke under a write, nobody can say how much of the buffer went out before:
        only its last octet certainly did not, so the last part counts if nothing stood behind it.
        TLS has buffers that nobody can look into.
        """
        if self._is_secure:
            return frozenset()
        if self._unsent is not None:
            return self._unsent
        return frozenset(one for end, one in self._unflushed[-1:] if end == self._handed)

    def _note_unflushed(self, pdus: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Remember the parts of the piece just written that the socket did not take whole."""
        taken, end = self._handed - self._transport.get_write_buffer_size(), self._handed
        torn = []
        for sequence, header, body in reversed(pdus):
            if end <= taken:
                break
            torn.append((end, sequence))
            end -= len(header) + len(body)
        self._unflushed += reversed(torn)
