"""One open SMTP connection as replies in and bytes out, exact about what was handed over.

Whether a message may be sent again after the link broke hangs on one question: can the server
have seen its last byte? asyncio answers it only to those who ask at the right moment, hence a
protocol of our own, put under the connection once aiosmtplib has set it up.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ignition_ext.channels.smtp.replies import MalformedReply, Reply, ReplyParser

# The server's goodbye is a courtesy; TLS waits for its close_notify as long as asyncio lets it.
_CLOSE_SECONDS = 3.0


class LinkLost(Exception):
    """The connection ended, or the server did not answer in time."""


class Wire(asyncio.Protocol):
    """Takes over a connected transport; one user at a time."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._broken: Exception | None = None
        self._paused = False
        self._changed = asyncio.Event()
        self._closed = asyncio.get_running_loop().create_future()
        # "Writable" then means "all of it is with the kernel". asyncio pauses a socket above its
        # mark and TLS at it already, where zero would pause for ever.
        encrypted = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if encrypted else 0, low=0)
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether another command can be tried; a waiting reply that nobody asked for says no."""
        return self._broken is None and not self._transport.is_closing() and not self._replies

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never called: the transport is connected when it is taken over."""

    def data_received(self, data: bytes) -> None:
        """Collect replies; nonsense breaks the link."""
        if self._broken is not None:
            return
        try:
            self._replies.extend(self._parser.feed(data))
        except MalformedReply as error:
            self._break(error)
        self._changed.set()

    def eof_received(self) -> bool:
        """The server hung up; close our side too."""
        self._break(LinkLost("the server closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is gone, by whichever side."""
        self._break(LinkLost(f"the connection was lost{f' ({exc})' if exc else ''}"))
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Something is still in our buffer."""
        self._paused = True

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._paused = False
        self._changed.set()

    def _break(self, error: Exception) -> None:
        if self._broken is None:
            self._broken = error
        self._changed.set()

    # our side

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket.

        Raises:
            LinkLost: the link was already gone; not a byte of ``data`` went out.
        """
        if self._broken is not None or self._transport.is_closing():
            raise self._broken or LinkLost("the connection is closing")
        self._transport.write(data)

    async def flushed(self, timeout: float) -> None:
        """Wait until the kernel has taken all that was written; ``timeout`` seconds a stall.

        Raises:
            LinkLost: the link broke, or nothing moved in time.
        """
        while self._paused:
            await self._wait(timeout, "taking the message")
            if self._broken is not None and self._paused:
                raise self._broken

    async def reply(self, timeout: float, to: str) -> Reply:
        """The next reply.

        Raises:
            LinkLost: the link broke first, or ``timeout`` seconds passed.
            MalformedReply: what came is not a reply.
        """
        while not self._replies:
            if self._broken is not None:
                raise self._broken
            await self._wait(timeout, f"answering {to}")
        return self._replies.popleft()

    def waiting_reply(self) -> Reply | None:
        """A reply that came before it was asked for."""
        return self._replies.popleft() if self._replies else None

    async def _wait(self, timeout: float, what: str) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            error = LinkLost(f"the server took more than {timeout:g} s for {what}")
            self._break(error)
            raise error from None

    @property
    def handed_over(self) -> bool:
        """Whether all that was written is with the kernel and the link has not failed in that."""
        return not self._paused and not self._transport.is_closing()

    def cut(self, reason: str) -> None:
        """End the connection now; who waits for a reply gets :class:`LinkLost`."""
        self._break(LinkLost(reason))
        self._transport.abort()

    async def close(self) -> None:
        """Close, and wait until the socket is gone."""
        self._transport.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self._transport.abort()
            await self._closed
