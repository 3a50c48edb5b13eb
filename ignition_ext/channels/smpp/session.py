"""One bind: a connection to an SMSC from its first octet to its last.

The session knows PDUs and time, not messages: a caller hands it parts and is told once what came
of each. A part stands in ``pending`` before its first octet is written, so an answer cannot come
too early. All that is known of a part while it is unanswered is that dictionary's entry: no
future, no task and no timer of its own. What came in one piece is told in one call, and what is
written in one turn of the loop goes out in one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ignition_ext.channels.smpp import codec, packed
from ignition_ext.channels.smpp.framing import Framer, FramingError
from ignition_ext.channels.smpp.message import Part
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.outbox import Outbox

_LAST_SEQUENCE = 0x7FFFFFFF
_UNBIND_SECONDS = 5.0
"""An SMSC that does not answer an unbind in this time is left without further words."""

_SUBMIT_RESPONSE = codec.SUBMIT_SM | codec.RESPONSE


class Answer(NamedTuple):
    """The SMSC's answer to a part: ``status`` is command_status."""

    part: Part
    status: int
    message_id: str = ""


class Listener(Protocol):
    """Whom a session tells; called from the event loop, must not block."""

    def answered(self, answers: Sequence[Answer]) -> None:
        """Answers to parts, in the order they came."""
        ...

    def lost(self, part: Part, reason: str, *, unsent: bool) -> None:
        """A part will have no answer; ``unsent`` when its last octet provably was not written.

        A part is either answered or lost, once. After the last of those that are lost together
        comes :meth:`changed`.
        """
        ...

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """A deliver_sm or data_sm came; it has to be answered with :meth:`Session.respond`."""
        ...

    def changed(self) -> None:
        """The session can take more, or nothing any more."""
        ...


class Session(asyncio.Protocol):
    """A bind over one connection. Made by :func:`ignition_ext.channels.smpp.connect.open_session`.

    Attributes:
        reason: why the connection ended.
        is_garbled: whether it ended because what came is not SMPP.
    """

    def __init__(self, options: SmppOptions, listener: Listener) -> None:
        self._options, self._listener = options, listener
        self._loop = asyncio.get_running_loop()
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._outbox: Outbox | None = None
        self._sequence = 0
        self._pending: dict[int, Part] = {}
        self._control: dict[int, asyncio.Future[bytes]] = {}
        self._heard_at = self._answered_at = self._loop.time()
        self._probe: int | None = None
        self._probe_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = self._loop.create_future()
        self._leaving = self._is_retired = False
        self.reason = ""
        self.is_garbled = False

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
        return self._outbox is not None and not self._leaving and self._outbox.is_writable

    def submit(self, parts: Sequence[Part]) -> None:
        """Write parts in one piece; what came of each goes to the listener."""
        assert self._outbox is not None
        deadline = self._loop.time() + self._options.response_timeout
        pending = self._pending
        is_first = not pending
        pdus = []
        for part in parts:
            sequence, body = self._next_sequence(), part.body
            part.deadline = deadline
            pending[sequence] = part
            pdus.append((sequence, packed.submit_header(body, sequence), body))
        self._outbox.write_parts(pdus)
        if is_first:
            self._arm()

    def respond(self, header: codec.Header, status: int) -> None:
        """Answer a deliver_sm or data_sm, if the connection still stands."""
        if header.command == codec.DELIVER_SM:
            self._write(packed.deliver_response(header.sequence, status))
        else:
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
        if self._outbox is not None:
            self._outbox.abort()

    def retire(self, reason: str) -> None:
        """Write no more parts, and drop the connection once those in flight have their answers."""
        self.reason = self.reason or reason
        self._leaving = self._is_retired = True
        self._drop_if_retired()

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
        self._transport, self._outbox = transport, Outbox(transport)

    def pause_writing(self) -> None:
        """The socket took less than it was given."""
        assert self._outbox is not None
        self._outbox.is_paused = True

    def resume_writing(self) -> None:
        """The socket took the rest."""
        assert self._outbox is not None
        self._outbox.resume()
        self._listener.changed()

    def data_received(self, data: bytes) -> None:
        """Octets came, in whatever pieces."""
        self._heard_at = self._loop.time()
        try:
            self._receive(self._framer.feed(data))
        except FramingError as error:
            self._receive(error.pdus)
            self.is_garbled = True
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Each unanswered part is told, once."""
        if self._timer is not None:
            self._timer.cancel()
        self.reason = self.reason or (str(exc) if exc else "the SMSC closed the connection")
        if not self._closed.done():
            self._closed.set_result(None)
        pending, self._pending = self._pending, {}
        unsent = self._outbox.provably_unsent() if self._outbox is not None else frozenset()
        for sequence, part in pending.items():
            self._listener.lost(part, self.reason, unsent=sequence in unsent)
        for future in self._control.values():
            if not future.done():
                future.set_exception(ConnectionError(self.reason))
        self._listener.changed()

    # -------------------------------------------------------------- PDUs

    def _receive(self, pdus: Sequence[bytes]) -> None:
        answers = []
        unpack, pending = packed.HEADER.unpack_from, self._pending
        for pdu in pdus:
            _, command, status, sequence = unpack(pdu)
            if command == _SUBMIT_RESPONSE and sequence in pending:
                message_id = "" if status else packed.read_message_id(pdu)
                answers.append(Answer(pending.pop(sequence), status, message_id))
                continue
            header = codec.Header(command=command, status=status, sequence=sequence)
            if command & codec.RESPONSE:
                self._receive_response(header, pdu)
            else:
                self._receive_request(header, pdu)
        if answers:
            self._answered_at = self._heard_at
            self._listener.answered(answers)
        self._drop_if_retired()

    def _receive_request(self, header: codec.Header, pdu: bytes) -> None:
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
        if header.command != codec.GENERIC_NACK:
            return  # late, or an answer to nothing of ours
        part = self._pending.pop(header.sequence, None)
        if part is not None:
            self._answered_at = self._heard_at
            self._listener.answered([Answer(part, header.status or codec.INVALID_COMMAND_ID)])
        else:
            # It names no request of ours: the SMSC lost its place in our stream.
            self.abort(f"generic_nack: {codec.status_name(header.status)}")

    def _next_sequence(self) -> int:
        while True:
            self._sequence = self._sequence % _LAST_SEQUENCE + 1
            if self._sequence not in self._pending and self._sequence not in self._control:
                return self._sequence

    def _write(self, octets: bytes) -> None:
        if self._outbox is not None:
            self._outbox.write(octets)

    def _drop_if_retired(self) -> None:
        if self._is_retired and not self._pending:
            self.abort(self.reason)

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self._outbox is not None:
            self._outbox.close()
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
        # Parts stand in the order of writing, and all wait equally long: the first is the oldest.
        for part in self._pending.values():
            return min(due, part.deadline)
        return due

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._is_mute(now):
            self.abort(f"no answer to anything within {self._options.response_timeout:g} s")
            return
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

    def _is_mute(self, now: float) -> bool:
        """Whether the oldest part is overdue, and none was answered in time since it was written.

        An SMSC may answer enquire_link and no submit_sm: each further part would be lost as well.
        """
        for part in self._pending.values():
            written_at = part.deadline - self._options.response_timeout
            return part.deadline <= now and self._answered_at <= written_at
        return False

    def _expire(self, now: float) -> None:
        late = []
        for sequence, part in self._pending.items():
            if part.deadline > now:
                break
            late.append((sequence, part))
        for sequence, part in late:
            del self._pending[sequence]
            reason = f"no answer within {self._options.response_timeout:g} s"
            self._listener.lost(part, reason, unsent=False)
        if late:
            self._drop_if_retired()
            self._listener.changed()
