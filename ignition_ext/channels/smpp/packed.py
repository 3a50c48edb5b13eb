"""The PDUs that come by the thousand, by ``struct`` alone (SMPP 3.4 sections 4.4 and 4.6).

What is written here equals, octet by octet, what ``smpplib`` writes; its command classes take
twenty times as long. Everything that comes once a connection goes through :mod:`codec`.
"""

from __future__ import annotations

import struct

from ignition_ext.channels.smpp.codec import (
    ADDRESS_CHARACTERS,
    DELIVER_SM,
    OK,
    RESPONSE,
    SHORT_MESSAGE_OCTETS,
    SUBMIT_SM,
    TLV_MESSAGE_PAYLOAD,
    Address,
    Deliver,
    FieldRefused,
    Malformed,
    Submit,
    read_tlvs,
)
from ignition_ext.channels.smpp.framing import HEADER_OCTETS

HEADER = struct.Struct(">LLLL")
"""command_length, command_id, command_status, sequence_number (section 3.2)."""

_SUBMIT = b"\0%c%c%b\0%c%c%b\0%c\0\0\0%b\0%c\0%c\0%c%b"
"""submit_sm's fields in order; service_type, protocol_id, priority_flag, schedule_delivery_time,
replace_if_present_flag and sm_default_msg_id are empty (section 4.4.1)."""


def submit_body(submit: Submit) -> bytes:
    """A submit_sm without its header.

    Raises:
        FieldRefused: an address or the message is longer than its field, or an address has
            characters that SMPP cannot carry. Nothing is ever cut to size.
    """
    source, destination, message = submit.source, submit.destination, submit.short_message
    if len(message) > SHORT_MESSAGE_OCTETS:
        raise FieldRefused("short_message", f"has {len(message)} octets of {SHORT_MESSAGE_OCTETS}")
    return _SUBMIT % (
        source.ton,
        source.npi,
        _address_octets("source_addr", source),
        destination.ton,
        destination.npi,
        _address_octets("destination_addr", destination),
        submit.esm_class,
        submit.validity_period.encode("ascii"),
        submit.registered_delivery,
        submit.data_coding,
        len(message),
        message,
    )


def submit_header(body: bytes, sequence: int) -> bytes:
    """What stands before :func:`submit_body` on the wire."""
    return HEADER.pack(HEADER_OCTETS + len(body), SUBMIT_SM, OK, sequence)


def _address_octets(name: str, address: Address) -> bytes:
    text = address.text
    if len(text) > ADDRESS_CHARACTERS:
        raise FieldRefused(name, f"has {len(text)} characters of {ADDRESS_CHARACTERS}")
    if not text.isascii() or not text.isprintable():
        # CR, LF and NUL would end the field early or reach a log or a bill.
        raise FieldRefused(name, "has characters that SMPP cannot carry")
    return text.encode("ascii")


def read_message_id(pdu: bytes) -> str:
    """message_id of submit_sm_resp, verbatim (section 4.4.2).

    Empty where the body is missing; to the end where its NUL is: accepted is accepted.
    """
    end = pdu.find(0, HEADER_OCTETS)
    return pdu[HEADER_OCTETS : len(pdu) if end < 0 else end].decode("latin-1")


def read_deliver(pdu: bytes) -> Deliver:
    """A whole deliver_sm; unknown TLVs are kept as octets.

    Raises:
        Malformed: the body ends before its fields do.
    """
    try:
        at = pdu.index(0, HEADER_OCTETS) + 1  # service_type
        end = pdu.index(0, at + 2)
        source = Address(text=pdu[at + 2 : end].decode("latin-1"), ton=pdu[at], npi=pdu[at + 1])
        at = end + 1
        end = pdu.index(0, at + 2)
        destination = Address(
            text=pdu[at + 2 : end].decode("latin-1"), ton=pdu[at], npi=pdu[at + 1]
        )
        esm_class = pdu[end + 1]  # then protocol_id and priority_flag
        at = pdu.index(0, end + 4) + 1  # schedule_delivery_time
        at = pdu.index(0, at) + 1  # validity_period
        # registered_delivery, replace_if_present_flag, data_coding, sm_default_msg_id, sm_length
        data_coding, length = pdu[at + 2], pdu[at + 4]
    except (ValueError, IndexError) as error:
        raise Malformed(f"A deliver_sm of {len(pdu)} octets ends before its fields do.") from error
    start, end = at + 5, at + 5 + length
    if end > len(pdu):
        raise Malformed(f"A deliver_sm says {length} octets of text and has {len(pdu) - start}.")
    tlvs = read_tlvs(pdu, end)
    return Deliver(
        source=source,
        destination=destination,
        esm_class=esm_class,
        data_coding=data_coding,
        message=pdu[start:end] or tlvs.get(TLV_MESSAGE_PAYLOAD, b""),
        tlvs=tlvs,
    )


def deliver_response(sequence: int, status: int) -> bytes:
    """deliver_sm_resp with its empty message_id (section 4.6.2)."""
    return HEADER.pack(HEADER_OCTETS + 1, DELIVER_SM | RESPONSE, status, sequence) + b"\0"
