"""An SMTP server that takes everything and keeps nothing, for where ``smtp-sink`` is missing.

``python -m ignition_ext.bench.smtp_sink [--security starttls|tls --certificate FILE]``
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from typing import Any

from ignition_ext.bench.counting import Counts, serve

_END = b"\r\n.\r\n"
_OK = b"250 2.0.0 Ok\r\n"
_REPLIES = {
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"RSET": _OK,
    b"NOOP": _OK,
    b"QUIT": b"221 2.0.0 Bye\r\n",
    b"HELO": b"250 sink\r\n",
}


class SinkConnection(asyncio.Protocol):
    """One client; the replies to one read go out in one write, as RFC 2920 section 3.2 wants."""

    def __init__(self, counts: Counts, upgrade: ssl.SSLContext | None) -> None:
        self._counts, self._upgrade = counts, upgrade
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._buffer = b""
        self._in_data = False
        self._recipients: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet; after STARTTLS the client speaks first (RFC 3207 section 4)."""
        assert isinstance(transport, asyncio.Transport)
        first, self._transport = self._transport is None, transport
        if first:
            transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer whatever is whole."""
        assert self._transport is not None
        rest, replies = self._buffer + data, []
        while rest and self._task is None:
            ended = rest.partition(_END if self._in_data else b"\r\n")
            if not ended[1]:
                break
            rest = ended[2]
            replies.append(self._end_of_data() if self._in_data else self._command(ended[0]))
        self._buffer = rest
        if replies:
            self._transport.write(b"".join(replies))

    def _end_of_data(self) -> bytes:
        self._in_data = False
        self._counts.messages += 1
        self._counts.recipients.update(self._recipients)
        self._recipients.clear()
        return _OK

    def _command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"RCPT":
            self._recipients.append(line[8:].strip(b"<> "))
        elif verb == b"DATA":
            self._in_data = True
        elif verb == b"EHLO":
            offer = b"250-STARTTLS\r\n" if self._upgrade else b""
            return b"250-sink\r\n" + offer + b"250-PIPELINING\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n"
        elif line.upper() == b"STARTTLS" and self._upgrade:
            self._task = asyncio.ensure_future(self._start_tls(self._upgrade))
            return b"220 2.0.0 Ready\r\n"
        return _REPLIES.get(verb, b"502 5.5.2 Unknown\r\n")

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        assert self._transport is not None
        self._upgrade, self._buffer = None, b""
        loop = asyncio.get_running_loop()
        secured: Any = await loop.start_tls(self._transport, self, context, server_side=True)
        self._transport, self._task = secured, None
        self.data_received(b"")  # what came between the handshake's end and now


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--security", choices=("none", "starttls", "tls"), default="none")
    parser.add_argument("--certificate", help="PEM file with key and certificate")
    arguments = parser.parse_args()
    counts, context = Counts(), None
    if arguments.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.certificate)
    upgrade = context if arguments.security == "starttls" else None
    always = context if arguments.security == "tls" else None
    asyncio.run(serve(lambda: SinkConnection(counts, upgrade), counts, always))


if __name__ == "__main__":
    main()
