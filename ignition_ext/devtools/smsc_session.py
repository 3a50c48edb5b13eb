"""One connection to the simulated SMSC."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc_behaviour import Behaviour

if TYPE_CHECKING:
    from ignition_ext.devtools.smsc import SmscSimulator

_REORDER_SECONDS = 0.05
"""Answers that are held back to be reordered go out after this, complete or not."""

_STATES = {"ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "UNDELIV": 5, "ACCEPTD": 6, "REJECTD": 8}
_SYSTEM_ERROR, _ALREADY_BOUND, _BIND_FAILED = 0x08, 0x05, 0x0D
_WRONG_PASSWORD, _WRONG_SYSTEM_ID, _NOT_BOUND, _THROTTLED = 0x0E, 0x0F, 0x04, 0x58


class SmscSession(asyncio.Protocol):
    """Reads PDUs, treats each as the simulator's settings say."""

    def __init__(self, smsc: SmscSimulator) -> None:
        self._smsc = smsc
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._gone = asyncio.Event()
        self._sequence = 0
        self._open = 0
        self._receipts: dict[int, bytes] = {}
        self._held: list[bytes] = []
        self._torn: bytearray | None = None
        self._taken: deque[float] = deque()
        self.bound = 0
        self.number = 0

    # -------------------------------------------------------------- connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._smsc.sessions.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It left: what was to be sent to it is forgotten."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self in self._smsc.sessions:
            self._smsc.sessions.remove(self)
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        """Cut PDUs from the stream."""
        self._buffer += data
        while len(self._buffer) >= wire.HEADER.size:
            length = int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < length:
                return
            pdu = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._receive(pdu)

    def write(self, octets: bytes) -> None:
        """Write octets, whatever they are; behind half a PDU they wait."""
        if self._torn is not None:
            self._torn += octets
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)

    def cut(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def end(self) -> None:
        """End the connection and wait until it is gone."""
        self.cut()
        await self._gone.wait()

    def unbind(self) -> None:
        """Ask the client to leave."""
        self.write(wire.pack(wire.UNBIND, 0, self._next()))

    # -------------------------------------------------------------- PDUs

    def _receive(self, pdu: bytes) -> None:
        _, command, status, sequence = wire.HEADER.unpack_from(pdu)
        self._smsc.heard.append((command, status, sequence))
        match command:
            case wire.BIND_RECEIVER | wire.BIND_TRANSMITTER | wire.BIND_TRANSCEIVER:
                self._bind(command, sequence, pdu)
            case wire.SUBMIT_SM:
                self._submit(sequence, pdu)
            case wire.ENQUIRE_LINK:
                if self._smsc.answers_enquire_link:
                    self.write(wire.pack(command | wire.RESPONSE, 0, sequence))
            case wire.UNBIND:
                if self._smsc.answers_unbind:
                    self.write(wire.pack(command | wire.RESPONSE, 0, sequence))
                    assert self._transport is not None
                    self._transport.close()
            case _ if command & 0x7FFFFFFF in {wire.DELIVER_SM, wire.DATA_SM}:
                self._receipt_answered(status, sequence)
            case _ if not command & wire.RESPONSE:
                self.write(wire.pack(wire.GENERIC_NACK, 0x03, sequence))

    def _bind(self, command: int, sequence: int, pdu: bytes) -> None:
        self._smsc.bind_attempts += 1
        if not self._smsc.answers_bind:
            return
        status = self._bind_status(wire.read_login(pdu))
        body = b""
        if status == 0:
            self.bound = command
            self._smsc.binds += 1
            self.number = self._smsc.binds
            body = wire.string("IgnitionSMSC") + wire.tlv(0x0210, b"\x34")
        self.write(wire.pack(command | wire.RESPONSE, status, sequence, body))

    def _bind_status(self, login: wire.Login) -> int:
        smsc = self._smsc
        if smsc.bind_statuses:
            return smsc.bind_statuses.pop(0)
        if self.bound:
            return _ALREADY_BOUND
        if login.system_id != smsc.system_id:
            return _WRONG_SYSTEM_ID
        if login.password != smsc.password:
            return _WRONG_PASSWORD
        others = sum(1 for session in smsc.sessions if session.bound)
        return _BIND_FAILED if smsc.max_binds is not None and others >= smsc.max_binds else 0

    def _submit(self, sequence: int, pdu: bytes) -> None:
        self._open += 1
        self._smsc.widest_window = max(self._smsc.widest_window, self._open)
        number = next(self._smsc.ids)
        submit = wire.read_submit(pdu, message_id="", session=self.number)
        behaviour = self._smsc.behaviour(submit.destination)
        if behaviour.drop == "before":
            self.cut()
            return
        status = self._status_for(submit, behaviour)
        delay = behaviour.response_delay or self._smsc.response_delay
        if status:
            self._answer(wire.pack(wire.SUBMIT_SM | wire.RESPONSE, status, sequence), delay, None)
            return
        in_response, in_receipt = _ids(number, behaviour)
        submit = wire.read_submit(pdu, message_id=in_response, session=self.number)
        self._smsc.store(submit)
        if behaviour.drop == "after":
            self.cut()
            return
        if behaviour.receipt_first:
            self._send_receipts(submit, in_receipt, behaviour)
        if behaviour.respond:
            response = wire.pack(
                wire.SUBMIT_SM | wire.RESPONSE, 0, sequence, wire.string(in_response)
            )
            self._answer(response, delay, behaviour.split_response)
        if not behaviour.receipt_first and submit.registered_delivery & 1:
            later = delay + self._smsc.receipt_delay
            self._later(later, lambda: self._send_receipts(submit, in_receipt, behaviour))
        if behaviour.unbind:
            self._later(delay, self.unbind)

    def _status_for(self, submit: wire.Submitted, behaviour: Behaviour) -> int:
        if self.bound not in {wire.BIND_TRANSMITTER, wire.BIND_TRANSCEIVER}:
            return _NOT_BOUND
        if self._smsc.refusals[submit.destination] < behaviour.refuse_times:
            self._smsc.refusals[submit.destination] += 1
            return behaviour.refuse_status
        if self._is_too_fast():
            return _THROTTLED
        return behaviour.status

    def _is_too_fast(self) -> bool:
        limit = self._smsc.per_second
        if limit is None:
            return False
        now = self._loop.time()
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()
        if len(self._taken) >= limit:
            return True
        self._taken.append(now)
        return False

    # -------------------------------------------------------------- answers

    def _answer(self, response: bytes, delay: float, split: float | None) -> None:
        if split is not None:
            half = len(response) // 2
            self.write(response[:half])
            self._torn = bytearray()
            self._later(split, lambda: self._mend(response[half:]))
        elif delay:
            self._later(delay, lambda: self._respond(response))
        elif self._smsc.reorder:
            self._hold(response)
        else:
            self._respond(response)

    def _mend(self, rest: bytes) -> None:
        """Write the other half, then what had to wait behind it."""
        behind, self._torn = self._torn or b"", None
        self._respond(rest + behind)

    def _respond(self, octets: bytes) -> None:
        self._open -= 1
        self.write(octets)

    def _hold(self, response: bytes) -> None:
        self._held.append(response)
        if len(self._held) == 1:
            self._later(_REORDER_SECONDS, self._release)
        if len(self._held) >= self._smsc.reorder:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for response in reversed(held):
            self._respond(response)

    # -------------------------------------------------------------- receipts

    def _send_receipts(self, submit: wire.Submitted, receipt_id: str, how: Behaviour) -> None:
        if not how.receipt or self.bound == wire.BIND_TRANSMITTER:
            return
        if how.intermediate:
            self._send_receipt(submit, receipt_id, "ENROUTE", how)
        for _ in range(how.receipt_copies):
            self._send_receipt(submit, receipt_id, how.receipt, how)

    def _send_receipt(
        self, submit: wire.Submitted, receipt_id: str, stat: str, how: Behaviour
    ) -> None:
        now = f"{datetime.now(UTC):%y%m%d%H%M}"
        error = "000" if stat == "DELIVRD" else "027"
        delivered = "001" if stat == "DELIVRD" else "000"
        # The user's text stands in a receipt; here it is one that lies about the state.
        text = (
            f"id:{receipt_id} sub:001 dlvrd:{delivered} submit date:{now} done date:{now} "
            f"stat:{stat} err:{error} text:stat:LIES"
        )
        tlvs = wire.tlv(0x001E, wire.string(receipt_id)) + wire.tlv(
            0x0427, bytes((_STATES.get(stat, 7),))
        )
        sequence = self._next()
        if how.receipt_form == "data_sm":
            pdu = wire.data_sm(submit, text, esm_class=0x04, sequence=sequence, tlvs=tlvs)
        elif how.receipt_form == "tlv":
            pdu = wire.deliver_sm(submit, "", esm_class=0x04, sequence=sequence, tlvs=tlvs)
        else:
            pdu = wire.deliver_sm(submit, text, esm_class=0x04, sequence=sequence)
        self._receipts[sequence] = pdu
        self.write(pdu)

    def _receipt_answered(self, status: int, sequence: int) -> None:
        self._smsc.receipt_answers.append(status)
        pdu = self._receipts.pop(sequence, None)
        if status and pdu is not None:
            self._receipts[sequence] = pdu
            self._later(self._smsc.receipt_retry, lambda: self.write(pdu))

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(handle)
            call()

        handle = self._loop.call_later(seconds, run)
        self._timers.add(handle)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def _ids(number: int, behaviour: Behaviour) -> tuple[str, str]:
    """The id in the response and the one in the receipt."""
    number += 0xA00000
    match behaviour.ids:
        case "same":
            return f"{number:010d}", f"{number:010d}"
        case "hex_response":
            return f"{number:x}", str(number)
        case "hex_receipt":
            return str(number), f"{number:X}"
