"""Messages from handsets: what a deliver_sm or data_sm that is no receipt says, part by part.

Parts are tied together by the user data header (TS 23.040 section 9.2.3.24.1, elements 0x00 and
0x08) or by the TLVs sar_msg_ref_num, sar_total_segments and sar_segment_seqnum (SMPP 3.4 section
5.3.2.22 to 24). Nothing here refuses: whatever a handset sends becomes a fragment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from ignition_ext.channels.smpp.codec import TLV_RECEIPTED_MESSAGE_ID, Deliver

UDH_INDICATOR = 0x40
TLV_SAR_REFERENCE, TLV_SAR_TOTAL, TLV_SAR_NUMBER = 0x020C, 0x020E, 0x020F
TLV_USER_MESSAGE_REFERENCE = 0x0204
_PORTS = frozenset({0x04, 0x05})
"""Elements that address an application on the handset: what follows is for a program."""
_BINARY_CODINGS = frozenset({0x02, 0x04})
"""Octets unspecified (SMPP 3.4 section 5.2.19)."""
_CLASSES, _EIGHT_BIT = 0xF0, 0x04
"""Data coding with a message class (TS 23.038 section 4): bit 2 says eight-bit data."""
_INTERNATIONAL = 1


class Identity(StrEnum):
    """What tells a text that is brought again from one that says the same."""

    NONE = "none"
    REFERENCE = "reference"
    ID = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsFragment:
    """A text from a handset, or one part of it.

    Attributes:
        bind: ``host:port/system_id`` it came to.
        source: the handset, with ``+`` where the SMSC calls it international.
        destination: the number, short code or name of ours that it was sent to.
        octets: what was written, without the user data header.
        padding: fill bits before the first character, where seven-bit ones are packed.
        single_shift, locking_shift: national language of the header, 0 for none.
        reference: ties parts together, such as ``udh8:17``; empty for a whole text.
        part: from 1.
        parts: how many there are.
        digest: equal for the same fragment, brought again.
        identity: what the digest rests on besides the words: the SMSC's own id, the handset's
            reference (user_message_reference, which counts to 255 in GSM), or nothing.
    """

    bind: str
    source: str
    destination: str
    data_coding: int
    octets: bytes
    padding: int = 0
    single_shift: int = 0
    locking_shift: int = 0
    is_binary: bool = False
    reference: str = ""
    part: int = 1
    parts: int = 1
    digest: str = ""
    identity: Identity = Identity.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    length: int = 0
    reference: str = ""
    part: int = 1
    parts: int = 1
    single_shift: int = 0
    locking_shift: int = 0
    has_ports: bool = False


def read_incoming(deliver: Deliver, *, bind: str, id_tlv: int | None = None) -> SmsFragment:
    """The fragment in a deliver_sm or data_sm; a header that makes no sense is taken as text.

    Args:
        deliver: what came.
        bind: where.
        id_tlv: tag of a TLV in which this SMSC numbers texts, where it does.
    """
    has_header = bool(deliver.esm_class & UDH_INDICATOR)
    header = _read_header(deliver.message) if has_header else _Header()
    reference, part, parts = header.reference, header.part, header.parts
    if not reference:
        reference, part, parts = _read_sar(deliver)
    source = deliver.source
    is_international = source.ton == _INTERNATIONAL and source.text[:1] != "+"
    return SmsFragment(
        bind=bind,
        source=f"+{source.text}" if is_international else source.text,
        destination=deliver.destination.text,
        data_coding=deliver.data_coding,
        octets=deliver.message[header.length :],
        padding=-header.length * 8 % 7,
        single_shift=header.single_shift,
        locking_shift=header.locking_shift,
        is_binary=header.has_ports or is_binary(deliver.data_coding),
        reference=reference,
        part=part,
        parts=parts,
        digest=_digest(deliver, bind, id_tlv),
        identity=_identity(deliver, id_tlv),
    )


def is_binary(data_coding: int) -> bool:
    """Whether a data_coding says that what is written is no text."""
    if data_coding & _CLASSES == _CLASSES:
        return bool(data_coding & _EIGHT_BIT)
    return data_coding in _BINARY_CODINGS


def _read_header(octets: bytes) -> _Header:
    length = octets[0] + 1 if octets else 0
    if not 1 < length <= len(octets):
        return _Header()
    reference, part, parts, single, locking, has_ports = "", 1, 1, 0, 0, False
    for element, value in _elements(octets[1:length]):
        match element, len(value):
            case (0x00, 3):
                numbers = f"udh8:{value[0]}", value[2], value[1]
            case (0x08, 4):
                numbers = f"udh16:{int.from_bytes(value[:2], 'big')}", value[3], value[2]
            case (0x24, 1):
                single = value[0]
                continue
            case (0x25, 1):
                locking = value[0]
                continue
            case _:
                has_ports = has_ports or element in _PORTS
                continue
        if _is_place(numbers[1], numbers[2]):
            reference, part, parts = numbers
    return _Header(
        length=length,
        reference=reference,
        part=part,
        parts=parts,
        single_shift=single,
        locking_shift=locking,
        has_ports=has_ports,
    )


def _elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The information elements; a torn last one is dropped."""
    at = 0
    while at + 2 <= len(octets):
        end = at + 2 + octets[at + 1]
        if end > len(octets):
            return
        yield octets[at], octets[at + 2 : end]
        at = end


def _read_sar(deliver: Deliver) -> tuple[str, int, int]:
    total = deliver.tlvs.get(TLV_SAR_TOTAL, b"")
    number = deliver.tlvs.get(TLV_SAR_NUMBER, b"")
    reference = deliver.tlvs.get(TLV_SAR_REFERENCE, b"")
    if len(total) == 1 and len(number) == 1 and 1 <= len(reference) <= 2:
        part, parts = number[0], total[0]
        if _is_place(part, parts):
            return f"sar:{int.from_bytes(reference, 'big')}", part, parts
    return "", 1, 1


def _is_place(part: int, parts: int) -> bool:
    """Whether this is one of several parts; what says ``0 of 0`` or ``1 of 1`` is whole."""
    return parts > 1 and 1 <= part <= parts


def _identity(deliver: Deliver, id_tlv: int | None) -> Identity:
    if any(deliver.tlvs.get(tag, b"").strip(b"\0") for tag in _id_tags(id_tlv)):
        return Identity.ID
    # Some SMSCs fill it with zeros always.
    if deliver.tlvs.get(TLV_USER_MESSAGE_REFERENCE, b"").strip(b"\0"):
        return Identity.REFERENCE
    return Identity.NONE


def _id_tags(id_tlv: int | None) -> tuple[int, ...]:
    return (TLV_RECEIPTED_MESSAGE_ID,) if id_tlv is None else (TLV_RECEIPTED_MESSAGE_ID, id_tlv)


def _digest(deliver: Deliver, bind: str, id_tlv: int | None) -> str:
    own = [TLV_SAR_REFERENCE, TLV_SAR_TOTAL, TLV_SAR_NUMBER, TLV_USER_MESSAGE_REFERENCE]
    own += [tag for tag in _id_tags(id_tlv) if tag in deliver.tlvs]
    facts = (
        bind,
        deliver.source.text,
        deliver.destination.text,
        deliver.esm_class & UDH_INDICATOR,
        deliver.data_coding,
        deliver.message.hex(),
        *(deliver.tlvs.get(tag, b"").hex() for tag in own),
    )
    return sha256(repr(facts).encode("utf-8", "backslashreplace")).hexdigest()
