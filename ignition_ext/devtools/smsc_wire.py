"""The simulator's own reading and writing of SMPP 3.4, with ``struct`` alone.

It shares no code with ``channels.smpp`` and none with ``smpplib``: what both misread alike, a test
between them would not see.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER = struct.Struct(">IIII")

BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER = 0x01, 0x02, 0x09
SUBMIT_SM, DELIVER_SM, DATA_SM = 0x04, 0x05, 0x103
UNBIND, ENQUIRE_LINK, GENERIC_NACK = 0x06, 0x15, 0x80000000
RESPONSE = 0x80000000

_GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPED = dict(zip("\x0a\x14()/<=>@e", "\f^{}\\[~]|€", strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """The fields of a bind."""

    system_id: str
    password: str
    system_type: str
    interface_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """One submit_sm, decoded.

    Attributes:
        message_id: what the simulator answered.
        octets: short_message as it came, header included.
        text: what a handset shows of this part alone.
        reference, part, parts: from the user data header; 0, 1, 1 without one.
    """

    message_id: str
    session: int
    sequence: int
    source: str
    source_ton: int
    source_npi: int
    destination: str
    destination_ton: int
    destination_npi: int
    esm_class: int
    registered_delivery: int
    data_coding: int
    validity_period: str
    octets: bytes
    udh: bytes
    text: str
    reference: int
    part: int
    parts: int


class Fields:
    """Walks through a PDU's body."""

    def __init__(self, pdu: bytes) -> None:
        self.pdu, self.at = pdu, HEADER.size

    def text(self) -> str:
        """A C-octet string."""
        end = self.pdu.index(0, self.at)
        value = self.pdu[self.at : end].decode("ascii")
        self.at = end + 1
        return value

    def number(self) -> int:
        """One octet."""
        self.at += 1
        return self.pdu[self.at - 1]

    def octets(self, count: int) -> bytes:
        """That many octets."""
        self.at += count
        return self.pdu[self.at - count : self.at]

    def rest(self) -> bytes:
        """What was not read: the optional parameters."""
        return self.pdu[self.at :]


def read_login(pdu: bytes) -> Login:
    """bind_transmitter, bind_receiver, bind_transceiver."""
    fields = Fields(pdu)
    return Login(
        system_id=fields.text(),
        password=fields.text(),
        system_type=fields.text(),
        interface_version=fields.number(),
    )


def read_submit(pdu: bytes, *, message_id: str, session: int) -> Submitted:
    """submit_sm (section 4.4.1), its user data header (TS 23.040 9.2.3.24) taken apart."""
    fields = Fields(pdu)
    fields.text()
    source_ton, source_npi, source = fields.number(), fields.number(), fields.text()
    ton, npi, destination = fields.number(), fields.number(), fields.text()
    esm_class, _, _ = fields.number(), fields.number(), fields.number()
    _, validity = fields.text(), fields.text()
    registered, _, coding, _ = (fields.number() for _ in range(4))
    octets = fields.octets(fields.number())
    udh = octets[: octets[0] + 1] if esm_class & 0x40 and octets else b""
    reference, parts, part = _concatenation(udh)
    return Submitted(
        message_id=message_id,
        session=session,
        sequence=HEADER.unpack_from(pdu)[3],
        source=source,
        source_ton=source_ton,
        source_npi=source_npi,
        destination=destination,
        destination_ton=ton,
        destination_npi=npi,
        esm_class=esm_class,
        registered_delivery=registered,
        data_coding=coding,
        validity_period=validity,
        octets=octets,
        udh=udh,
        text=read_text(octets[len(udh) :], coding),
        reference=reference,
        part=part,
        parts=parts,
    )


def _concatenation(udh: bytes) -> tuple[int, int, int]:
    at = 1
    while at + 1 < len(udh):
        element, length = udh[at], udh[at + 1]
        value = udh[at + 2 : at + 2 + length]
        if element == 0x00 and length == 3:
            return value[0], value[1], value[2]
        if element == 0x08 and length == 4:
            return int.from_bytes(value[:2], "big"), value[2], value[3]
        at += 2 + length
    return 0, 1, 1


def read_text(octets: bytes, coding: int) -> str:
    """The text of a part: GSM-7 (0), Latin-1 (3) or UCS-2 (8); strict, so that a fault shows."""
    if coding == 8:
        return octets.decode("utf-16-be", errors="backslashreplace")
    if coding == 3:
        return octets.decode("latin-1")
    shown = []
    rest = iter(octets.decode("latin-1"))
    for char in rest:
        if char == "\x1b":
            shown.append(_ESCAPED.get(next(rest, ""), "\ufffd"))
        else:
            shown.append(_GSM[ord(char)] if ord(char) < 0x80 else "\ufffd")
    return "".join(shown)


def pack(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """A whole PDU."""
    return HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


def string(text: str) -> bytes:
    """A C-octet string."""
    return text.encode("latin-1") + b"\0"


def tlv(tag: int, value: bytes) -> bytes:
    """An optional parameter (section 3.2.4)."""
    return struct.pack(">HH", tag, len(value)) + value


def deliver_sm(
    submit: Submitted, text: str, *, esm_class: int, sequence: int, tlvs: bytes = b""
) -> bytes:
    """A deliver_sm from the handset that ``submit`` went to (section 4.6.1)."""
    message = text.encode("latin-1")
    body = b"".join(
        (
            string(""),
            bytes((submit.destination_ton, submit.destination_npi)),
            string(submit.destination),
            bytes((submit.source_ton, submit.source_npi)),
            string(submit.source),
            bytes((esm_class, 0, 0)),
            string(""),
            string(""),
            bytes((0, 0, 0, 0, len(message))),
            message,
            tlvs,
        )
    )
    return pack(DELIVER_SM, 0, sequence, body)


def data_sm(submit: Submitted, text: str, *, esm_class: int, sequence: int, tlvs: bytes) -> bytes:
    """A data_sm from the handset, its text in message_payload (section 4.7.1)."""
    body = b"".join(
        (
            string(""),
            bytes((submit.destination_ton, submit.destination_npi)),
            string(submit.destination),
            bytes((submit.source_ton, submit.source_npi)),
            string(submit.source),
            bytes((esm_class, 0, 0)),
            tlvs,
            tlv(0x0424, text.encode("latin-1")),
        )
    )
    return pack(DATA_SM, 0, sequence, body)
