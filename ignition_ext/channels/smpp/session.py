"""One bind: a connection to an SMSC from its first octet to its last.

The session knows PDUs and time, not messages: a caller hands it a part and is told once what came
of it. The part stands in ``pending`` before its first octet is written, so an answer cannot come
too early.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.framing import Framer, FramingError
from ignition_ext.channels.smpp.message import Part
from ignition_ext.channels.smpp.options import SmppOptions

_LAST_SEQUENCE = 0x7FFFFFFF
_UNBIND_SECONDS = 5.0
"""An SMSC that does not answer an unbind in this time is left without further words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The SMSC's answer to a part: ``status`` is command_status."""

    status: int
    message_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """Why there will be no answer; ``unsent`` when its last octet provably was not written."""

    reason: str
    unsent: bool = False


class Listener(Protocol):
    """Whom a session tells; called from the event loop, must not block."""

    def answered(self, part: Part, answer: Answer | NoAnswer) -> None:
        """A part's outcome, once for each part."""
        ...

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """A deliver_sm or data_sm came; it has to be answered with :meth:`Session.respond`."""
        ...

    def changed(self) -> None:
        """The session can take more, or nothing any more."""
        ...


class Session(asyncio.Protocol):
    """A bind over one connection. Made by :func:`ignition_ext.channels.smpp.connect.bind`."""

    def __init__(self, options: SmppOptions, listener: Listener) -> None:
        self._options, self._listener = options, listener
        self._loop = asyncio.get_running_loop()
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._sequence = 0
        self._pending: dict[int, tuple[Part, float]] = {}
        self._control: dict[int, asyncio.Future[bytes]] = {}
        self._unflushed: int | None = None
        self._secure, self._paused = False, False
        self._heard_at = self._loop.time()
        self._probe: int | None = None
        self._probe_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = self._loop.create_future()
        self._leaving = False
        self.reason = ""

    # -------------------------------------------------------------- what a caller does

    @property
    def is_open(self) -> bool:
        """Whether parts may be handed over."""
        return self._transport is not None and not self._leaving and not self._closed.done()

    @property
    def in_flight(self) -> int:
        """Parts that are written and unanswered."""
        return len(self._pending)

    @property
    def is_writable(self) -> bool:
        """Whether the socket takes octets now, rather than asyncio's buffer."""
        return self.is_open and not self._paused

    def submit(self, part: Part) -> None:
        """Write a part; what came of it goes to the listener.

        Raises:
            FieldRefused: the part cannot be written; nothing was.
        """
        sequence = self._next_sequence()
        octets = codec.encode_submit(part.submit, sequence)
        self._pending[sequence] = part, self._loop.time() + self._options.response_timeout
        self._unflushed = sequence
        self._write(octets)
        if not self._paused:
            self._unflushed = None
        if len(self._pending) == 1:
            self._arm()

    def respond(self, header: codec.Header, status: int) -> None:
        """Answer a deliver_sm or data_sm, if the connection still stands."""
        if self._transport is not None and not self._closed.done():
            self._write(codec.encode_response(header.command, header.sequence, status))

    async def request(self, encode: Callable[[int], bytes], timeout: float) -> bytes:
        """Send a request of the session's own and wait for its response.

        Raises:
            TimeoutError: no answer in time.
            ConnectionError: the link was lost before.
        """
        sequence = self._next_sequence()
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._control[sequence] = future
        try:
            self._write(encode(sequence))
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._control.pop(sequence, None)

    def start_probing(self) -> None:
        """Begin to send enquire_link; called once bound."""
        self._heard_at = self._loop.time()
        self._arm()

    def abort(self, reason: str) -> None:
        """Drop the connection at once; unanswered parts are told so."""
        self.reason = self.reason or reason
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Unbind, wait for the answer a little, and close (section 4.2)."""
        if self.is_open:
            self._leaving = True
            try:
                await self.request(codec.encode_unbind, _UNBIND_SECONDS)
            except (TimeoutError, ConnectionError):
                pass
            finally:
                self._end("unbound")
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone and each part was told."""
        if self._transport is not None:
            await asyncio.shield(self._closed)

    @property
    def tls(self) -> str:
        """Protocol and cipher, ``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty without TLS."""
        cipher = self._transport and self._transport.get_extra_info("cipher")
        return f"{cipher[1]} {cipher[0]}" if cipher else ""

    # -------------------------------------------------------------- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands; nothing is bound yet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._secure = isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        if not self._secure:
            # High water 0: the socket's "would block" is seen at once, so that a part whose last
            # octet was not taken can be told from one that may have arrived.
            transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        """The socket took less than it was given."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket took the rest."""
        self._paused, self._unflushed = False, None
        self._listener.changed()

    def data_received(self, data: bytes) -> None:
        """Octets came, in whatever pieces."""
        self._heard_at = self._loop.time()
        try:
            for pdu in self._framer.feed(data):
                self._receive(pdu)
        except FramingError as error:
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Each unanswered part is told, once."""
        if self._timer is not None:
            self._timer.cancel()
        self.reason = self.reason or (str(exc) if exc else "the SMSC closed the connection")
        if not self._closed.done():
            self._closed.set_result(None)
        pending, self._pending = self._pending, {}
        # TLS has buffers that nobody can look into: there nothing is provably unsent.
        torn = None if self._secure else self._unflushed
        for sequence, (part, _) in pending.items():
            self._listener.answered(part, NoAnswer(reason=self.reason, unsent=sequence == torn))
        for future in self._control.values():
            if not future.done():
                future.set_exception(ConnectionError(self.reason))
        self._listener.changed()

    # -------------------------------------------------------------- PDUs

    def _receive(self, pdu: bytes) -> None:
        header = codec.read_header(pdu)
        if header.command & codec.RESPONSE:
            self._receive_response(header, pdu)
            return
        match header.command:
            case codec.ENQUIRE_LINK:
                self._write(codec.encode_response(header.command, header.sequence))
            case codec.DELIVER_SM | codec.DATA_SM:
                self._listener.delivered(self, header, pdu)
            case codec.UNBIND:
                self._leaving = True
                self._write(codec.encode_response(header.command, header.sequence))
                self._end("the SMSC unbound us")
            case codec.ALERT_NOTIFICATION | codec.OUTBIND:
                pass  # neither has a response (sections 4.12 and 4.1.7)
            case _:
                self._write(
                    codec.encode_response(
                        codec.GENERIC_NACK, header.sequence, codec.INVALID_COMMAND_ID
                    )
                )

    def _receive_response(self, header: codec.Header, pdu: bytes) -> None:
        if header.sequence == self._probe:
            self._probe = None
            self._arm()
            return
        future = self._control.get(header.sequence)
        if future is not None:
            if not future.done():
                future.set_result(pdu)
            return
        if header.command not in {codec.SUBMIT_SM | codec.RESPONSE, codec.GENERIC_NACK}:
            return  # late, or an answer to nothing of ours
        waiting = self._pending.pop(header.sequence, None)
        if waiting is not None:
            self._tell(waiting[0], header, pdu)
        elif header.command == codec.GENERIC_NACK:
            # It names no request of ours: the SMSC lost its place in our stream.
            self.abort(f"generic_nack: {codec.status_name(header.status)}")

    def _tell(self, part: Part, header: codec.Header, pdu: bytes) -> None:
        status, message_id = header.status, ""
        if status == codec.OK and header.command == codec.GENERIC_NACK:
            status = codec.INVALID_COMMAND_ID
        if status == codec.OK:
            try:
                message_id = codec.read_message_id(pdu)
            except codec.Malformed:
                # Accepted all the same; the id is what can be read of it.
                message_id = pdu[16:].decode("latin-1")
        self._listener.answered(part, Answer(status=status, message_id=message_id))

    def _write(self, octets: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)

    def _next_sequence(self) -> int:
        while True:
            self._sequence = self._sequence % _LAST_SEQUENCE + 1
            if self._sequence not in self._pending and self._sequence not in self._control:
                return self._sequence

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self._transport is not None:
            self._transport.close()
        self._listener.changed()

    # -------------------------------------------------------------- time

    def _arm(self) -> None:
        """One timer for everything: the oldest unanswered part, the probe, the next probe."""
        if self._closed.done():
            return
        due = self._due()
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _due(self) -> float:
        if self._probe is None:
            due = self._heard_at + self._options.enquire_link
        else:
            due = self._probe_at + self._options.response_timeout
        for _, deadline in self._pending.values():
            return min(due, deadline)
        return due

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._expire(now)
        if self._probe is not None and now >= self._probe_at + self._options.response_timeout:
            if self._heard_at <= self._probe_at:
                self.abort("enquire_link was not answered")
                return
            self._probe = None  # busy elsewhere, but alive
        if self._probe is None and now >= self._heard_at + self._options.enquire_link:
            self._probe, self._probe_at = self._next_sequence(), now
            self._write(codec.encode_enquire_link(self._probe))
        self._arm()

    def _expire(self, now: float) -> None:
        late = []
        for sequence, (part, deadline) in self._pending.items():
            if deadline > now:
                break
            late.append((sequence, part))
        for sequence, part in late:
            del self._pending[sequence]
            self._listener.answered(
                part, NoAnswer(reason=f"no answer within {self._options.response_timeout:g} s")
            )
