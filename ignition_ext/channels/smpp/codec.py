"""PDUs to values and back (SMPP 3.4 chapters 4 and 5).

Writing goes through ``smpplib``'s command classes. Three of their habits matter: they cut what is
too long without a word, which is why the options check lengths; a ``sequence`` keyword only keeps
them from asking a client for a number, the attribute counts; and a misspelt keyword is ignored,
which is why each field is named once, here.

Reading is done here: ``smpplib`` gives up on vendor TLVs and on known TLVs in other PDUs, and
both come from real SMSCs. What comes by the thousand, submit_sm and deliver_sm with their
responses, stands in :mod:`packed`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from smpplib import command as commands
from smpplib import consts

from ignition_ext.channels.smpp.framing import HEADER_OCTETS
from ignition_ext.channels.smpp.options import BindType, SmppOptions

RESPONSE = 0x80000000
GENERIC_NACK = 0x80000000
BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER = 0x01, 0x02, 0x09
SUBMIT_SM, DELIVER_SM, DATA_SM = 0x04, 0x05, 0x103
UNBIND, ENQUIRE_LINK = 0x06, 0x15
ALERT_NOTIFICATION, OUTBIND = 0x102, 0x0B

OK = 0x00
INVALID_COMMAND_LENGTH, INVALID_COMMAND_ID = 0x02, 0x03
RECEIVER_TEMPORARY_ERROR = 0x64

INTERFACE_VERSION_34 = 0x34

TLV_MESSAGE_PAYLOAD = 0x0424
TLV_RECEIPTED_MESSAGE_ID = 0x001E
TLV_MESSAGE_STATE = 0x0427
TLV_NETWORK_ERROR_CODE = 0x0423
TLV_INTERFACE_VERSION = 0x0210

ADDRESS_CHARACTERS = 20
SHORT_MESSAGE_OCTETS = 254

_HEADER, _TLV = struct.Struct(">LLLL"), struct.Struct(">HH")
_BINDS = {
    BindType.RECEIVER: ("bind_receiver", commands.BindReceiver),
    BindType.TRANSMITTER: ("bind_transmitter", commands.BindTransmitter),
    BindType.TRANSCEIVER: ("bind_transceiver", commands.BindTransceiver),
}


class FieldRefused(ValueError):
    """A value that its field cannot hold; it is never cut to size.

    Attributes:
        field: the field's name in SMPP 3.4.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.field = name
        super().__init__(f"{name} {reason}")


class Malformed(ValueError):
    """The body of a PDU ends before its fields do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The four words that begin each PDU (SMPP 3.4 section 3.2); the length is the frame's."""

    command: int
    status: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address with its type of number and numbering plan (section 5.2.5, 5.2.6)."""

    text: str
    ton: int
    npi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """What one submit_sm says (section 4.4.1)."""

    source: Address
    destination: Address
    short_message: bytes
    data_coding: int
    esm_class: int = 0
    registered_delivery: int = 1
    validity_period: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """What one deliver_sm or data_sm says (sections 4.6.1 and 4.7.1).

    ``message`` is short_message, or message_payload where that was used.
    """

    source: Address
    destination: Address
    esm_class: int
    data_coding: int
    message: bytes
    tlvs: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindAnswer:
    """What an SMSC says of itself; empty and None where it says nothing."""

    system_id: str = ""
    interface_version: int | None = None


# ------------------------------------------------------------------ writing


def encode_bind(options: SmppOptions, sequence: int) -> bytes:
    """bind_receiver, bind_transmitter or bind_transceiver (section 4.1); lengths were checked."""
    name, kind = _BINDS[options.bind]
    pdu = kind(
        name,
        sequence=sequence,
        system_id=options.system_id,
        password=options.password,
        system_type=options.system_type,
    )
    return _generate(pdu, sequence)


def encode_enquire_link(sequence: int) -> bytes:
    """enquire_link (section 4.11)."""
    return _generate(commands.EnquireLink("enquire_link", sequence=sequence), sequence)


def encode_unbind(sequence: int) -> bytes:
    """unbind (section 4.2)."""
    return _generate(commands.Unbind("unbind", sequence=sequence), sequence)


_RESPONSES: Mapping[int, Callable[[int], Any]] = {
    # Alone among the responses it asks a client for a number, unless it is given one.
    DATA_SM: lambda status: commands.DataSMResp("data_sm_resp", status=status, sequence=0),
    ENQUIRE_LINK: lambda status: commands.EnquireLinkResp("enquire_link_resp", status=status),
    UNBIND: lambda status: commands.UnbindResp("unbind_resp", status=status),
    GENERIC_NACK: lambda status: commands.GenericNAck("generic_nack", status=status),
}


def encode_response(command: int, sequence: int, status: int = OK) -> bytes:
    """The answer to a request that we take; ``GENERIC_NACK`` for one that we do not."""
    return _generate(_RESPONSES[command](status), sequence)


def _generate(pdu: Any, sequence: int) -> bytes:
    pdu.sequence = sequence
    octets: bytes = pdu.generate()
    return octets


# ------------------------------------------------------------------ reading


def read_header(pdu: bytes) -> Header:
    """The header of a whole PDU."""
    _, command, status, sequence = _HEADER.unpack_from(pdu)
    return Header(command=command, status=status, sequence=sequence)


def read_bind_answer(pdu: bytes) -> BindAnswer:
    """bind_*_resp (section 4.1.2); many SMSCs leave out the body when they refuse."""
    if len(pdu) == HEADER_OCTETS:
        return BindAnswer()
    reader = _Reader(pdu)
    system_id = reader.text()
    version = reader.tlvs().get(TLV_INTERFACE_VERSION, b"")
    return BindAnswer(system_id=system_id, interface_version=version[0] if version else None)


def read_data(pdu: bytes) -> Deliver:
    """A whole data_sm (section 4.7.1); unknown TLVs are kept as octets.

    Raises:
        Malformed: the body ends early.
    """
    reader = _Reader(pdu)
    reader.text()  # service_type
    source, destination = reader.address(), reader.address()
    esm_class = reader.octet()
    reader.octet()  # registered_delivery
    data_coding = reader.octet()
    tlvs = reader.tlvs()
    return Deliver(
        source=source,
        destination=destination,
        esm_class=esm_class,
        data_coding=data_coding,
        message=tlvs.get(TLV_MESSAGE_PAYLOAD, b""),
        tlvs=tlvs,
    )


def read_tlvs(pdu: bytes, at: int) -> dict[int, bytes]:
    """The optional parameters from ``at`` on (section 3.2.4).

    A torn last one is dropped: some SMSCs pad.
    """
    found: dict[int, bytes] = {}
    while len(pdu) - at >= 4:
        tag, length = _TLV.unpack_from(pdu, at)
        end = at + 4 + length
        if end > len(pdu):
            break
        found[tag] = pdu[at + 4 : end]
        at = end
    return found


class _Reader:
    """Walks through a body; each step is checked against its end."""

    __slots__ = ("_at", "_pdu")

    def __init__(self, pdu: bytes) -> None:
        self._pdu, self._at = pdu, HEADER_OCTETS

    def octet(self) -> int:
        return self.octets(1)[0]

    def octets(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._pdu):
            raise Malformed(f"{count} octets wanted at {self._at} of {len(self._pdu)}")
        value = self._pdu[self._at : end]
        self._at = end
        return value

    def text(self) -> str:
        end = self._pdu.find(b"\0", self._at)
        if end < 0:
            raise Malformed(f"A string at {self._at} has no end.")
        value = self._pdu[self._at : end].decode("latin-1")
        self._at = end + 1
        return value

    def address(self) -> Address:
        ton, npi = self.octet(), self.octet()
        return Address(text=self.text(), ton=ton, npi=npi)

    def tlvs(self) -> dict[int, bytes]:
        return read_tlvs(self._pdu, self._at)


def status_name(status: int) -> str:
    """A command_status in words: ``Throttling error (…)``; its number where it is unknown."""
    words: str | None = consts.DESCRIPTIONS.get(status)
    return words or f"Status 0x{status:08X} of the provider's own"
