"""What is written is read back by others; what others write is read here, or refused."""

from __future__ import annotations

import struct

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st
from smpplib import command as smpplib_command

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.codec import Address, FieldRefused, Malformed, Submit
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.devtools import smsc_wire as wire

ascii_addresses = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
octet = st.integers(0, 255)
addresses = st.builds(Address, text=ascii_addresses, ton=octet, npi=octet)
submits = st.builds(
    Submit,
    source=addresses,
    destination=addresses,
    short_message=st.binary(max_size=254),
    data_coding=octet,
    esm_class=st.sampled_from([0, 3]),
    registered_delivery=octet,
)


@given(submits, st.integers(1, 0x7FFFFFFF))
def test_submit_sm_is_read_back_by_a_foreign_decoder(submit: Submit, sequence: int) -> None:
    """smpp34 finds each field where SMPP 3.4 wants it, and would write the same octets."""
    pdu = codec.encode_submit(submit, sequence)
    read = smpp34.decode(pdu)

    assert isinstance(read, smpp34.SubmitSm)
    assert read.sequence_number == sequence
    assert (read.source_addr, read.source_addr_ton, read.source_addr_npi) == (
        submit.source.text,
        submit.source.ton,
        submit.source.npi,
    )
    assert (read.destination_addr, read.dest_addr_ton, read.dest_addr_npi) == (
        submit.destination.text,
        submit.destination.ton,
        submit.destination.npi,
    )
    assert read.short_message == submit.short_message
    assert (read.data_coding, read.esm_class) == (submit.data_coding, submit.esm_class)
    assert read.registered_delivery == submit.registered_delivery
    assert read.encode() == pdu


@given(st.binary(max_size=400), st.sampled_from([codec.DELIVER_SM, codec.DATA_SM]))
def test_any_body_is_read_or_refused(body: bytes, command: int) -> None:
    """No body raises anything but Malformed."""
    pdu = wire.pack(command, 0, 1, body)
    try:
        deliver = codec.read_deliver(pdu)
    except Malformed:
        return
    assert isinstance(deliver.message, bytes)


@given(
    message=st.binary(max_size=254),
    esm_class=octet,
    tlvs=st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=40), max_size=6),
)
def test_deliver_sm_of_a_foreign_encoder_is_read(
    message: bytes, esm_class: int, tlvs: dict[int, bytes]
) -> None:
    """Whatever TLVs it has: vendor ones, and known ones in a PDU that does not declare them."""
    pdu = smpp34.DeliverSm(
        "4915112345678",
        "Acme",
        message,
        esm_class=esm_class,
        data_coding=0,
        tlvs=[smpp34.Tlv(tag, value) for tag, value in tlvs.items()],
        sequence_number=7,
    ).encode()
    read = codec.read_deliver(pdu)

    assert read.message == message or (not message and read.message == tlvs.get(0x0424, b""))
    assert read.tlvs == tlvs
    assert (read.source.text, read.destination.text) == ("4915112345678", "Acme")


def test_smpplib_itself_gives_up_on_such_tlvs() -> None:
    """Why reading is done here; when this fails, smpplib has been mended."""
    vendor = smpp34.DeliverSm("1", "2", b"", tlvs=[smpp34.Tlv(0x1400, b"x")]).encode()
    undeclared = smpp34.DeliverSm("1", "2", b"", tlvs=[smpp34.Tlv(0x0210, b"\x34")]).encode()

    for pdu, error in ((vendor, Exception), (undeclared, KeyError)):
        with pytest.raises(error):
            smpplib_command.DeliverSM("deliver_sm", sequence=1).parse(pdu)
        assert codec.read_deliver(pdu).source.text == "1"


@pytest.mark.parametrize(
    ("field", "submit"),
    [
        ("destination_addr", {"destination": Address(text="4" * 21, ton=1, npi=1)}),
        ("source_addr", {"source": Address(text="x" * 21, ton=5, npi=0)}),
        ("short_message", {"short_message": b"x" * 255}),
        ("source_addr", {"source": Address(text="Müller", ton=5, npi=0)}),
        ("source_addr", {"source": Address(text="a\r\nb", ton=5, npi=0)}),
        ("destination_addr", {"destination": Address(text="49\x00151", ton=1, npi=1)}),
    ],
)
def test_what_does_not_fit_is_refused_and_never_cut(field: str, submit: dict[str, object]) -> None:
    """smpplib would cut a number of 21 digits to 20 and send to somebody else."""
    good: dict[str, object] = {
        "source": Address(text="Acme", ton=5, npi=0),
        "destination": Address(text="4915112345678", ton=1, npi=1),
        "short_message": b"hi",
        "data_coding": 0,
    }
    with pytest.raises(FieldRefused) as caught:
        codec.encode_submit(Submit(**(good | submit)), 1)  # type: ignore[arg-type]

    assert caught.value.field == field


def test_the_sequence_number_is_the_one_asked_for() -> None:
    """smpplib ignores a sequence keyword (77 passed, 0 used)."""
    options = SmppOptions(host="h", system_id="s", password="p")
    for pdu in (
        codec.encode_bind(options, 77),
        codec.encode_enquire_link(77),
        codec.encode_unbind(77),
        codec.encode_response(codec.DELIVER_SM, 77),
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
        (codec.DELIVER_SM, 0x64, b"\0"),
        (codec.DATA_SM, 0, b"\0"),
        (codec.UNBIND, 0, b""),
        (codec.ENQUIRE_LINK, 0, b""),
    ],
)
def test_responses(command: int, status: int, body: bytes) -> None:
    """Command with the response bit, status, sequence, and the empty message_id."""
    pdu = codec.encode_response(command, 9, status)

    assert pdu == wire.pack(command | 0x80000000, status, 9, body)


def test_message_id_is_verbatim() -> None:
    """No zero is stripped, no case changed."""
    assert codec.read_message_id(wire.pack(0x80000004, 0, 1, b"00aBc-9\0")) == "00aBc-9"
    assert codec.read_message_id(wire.pack(0x80000004, 0, 1)) == ""


def test_bind_answer_without_a_body() -> None:
    """SMSCs that refuse often send the header alone."""
    assert codec.read_bind_answer(wire.pack(0x80000009, 0x0E, 1)) == codec.BindAnswer()
    body = wire.string("smsc") + wire.tlv(0x0210, b"\x34")
    answer = codec.read_bind_answer(wire.pack(0x80000009, 0, 1, body))
    assert (answer.system_id, answer.interface_version) == ("smsc", 0x34)
