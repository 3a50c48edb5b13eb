"""What is written is read back by others; what others write is read here, or refused."""

from __future__ import annotations

import struct

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st
from smpplib import command as smpplib_command

from ignition_ext.channels.smpp import codec, packed
from ignition_ext.channels.smpp.codec import Malformed
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.devtools import smsc_wire as wire


@given(st.binary(max_size=400))
def test_any_data_sm_is_read_or_refused(body: bytes) -> None:
    """No body raises anything but Malformed."""
    try:
        data = codec.read_data(wire.pack(codec.DATA_SM, 0, 1, body))
    except Malformed:
        return
    assert isinstance(data.message, bytes)


def test_smpplib_itself_gives_up_on_such_tlvs() -> None:
    """Why reading is done here; when this fails, smpplib has been mended."""
    vendor = smpp34.DeliverSm("1", "2", b"", tlvs=[smpp34.Tlv(0x1400, b"x")]).encode()
    undeclared = smpp34.DeliverSm("1", "2", b"", tlvs=[smpp34.Tlv(0x0210, b"\x34")]).encode()

    for pdu, error in ((vendor, Exception), (undeclared, KeyError)):
        with pytest.raises(error):
            smpplib_command.DeliverSM("deliver_sm", sequence=1).parse(pdu)
        assert packed.read_deliver(pdu).source.text == "1"


def test_the_sequence_number_is_the_one_asked_for() -> None:
    """smpplib ignores a sequence keyword (77 passed, 0 used)."""
    options = SmppOptions(host="h", system_id="s", password="p")
    for pdu in (
        codec.encode_bind(options, 77),
        codec.encode_enquire_link(77),
        codec.encode_unbind(77),
        codec.encode_response(codec.DATA_SM, 77),
        codec.encode_response(codec.GENERIC_NACK, 77, 3),
    ):
        assert codec.read_header(pdu).sequence == 77
        assert struct.unpack_from(">L", pdu)[0] == len(pdu)


def test_bind_is_read_back_by_the_simulator() -> None:
    """Field by field, by a decoder that shares no code."""
    options = SmppOptions(host="h", system_id="a" * 15, password="b" * 8, system_type="c" * 12)
    login = wire.read_login(codec.encode_bind(options, 1))

    assert (login.system_id, login.password, login.system_type) == ("a" * 15, "b" * 8, "c" * 12)
    assert login.interface_version == 0x34


@pytest.mark.parametrize(
    ("command", "status", "body"),
    [
        (codec.DATA_SM, 0, b"\0"),
        (codec.UNBIND, 0, b""),
        (codec.ENQUIRE_LINK, 0, b""),
    ],
)
def test_responses(command: int, status: int, body: bytes) -> None:
    """Command with the response bit, status, sequence, and the empty message_id."""
    pdu = codec.encode_response(command, 9, status)

    assert pdu == wire.pack(command | 0x80000000, status, 9, body)


def test_bind_answer_without_a_body() -> None:
    """SMSCs that refuse often send the header alone."""
    assert codec.read_bind_answer(wire.pack(0x80000009, 0x0E, 1)) == codec.BindAnswer()
    body = wire.string("smsc") + wire.tlv(0x0210, b"\x34")
    answer = codec.read_bind_answer(wire.pack(0x80000009, 0, 1, body))
    assert (answer.system_id, answer.interface_version) == ("smsc", 0x34)
