"""The struct path against three foreign codecs: equal octets out, equal fields in, or refused."""

from __future__ import annotations

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st
from smpplib import command as smpplib_command

from ignition_ext.channels.smpp import codec, packed
from ignition_ext.channels.smpp.codec import Address, FieldRefused, Malformed, Submit
from ignition_ext.devtools import smsc_wire as wire

octet = st.integers(0, 255)
sequences = st.integers(1, 0x7FFFFFFF)
printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
addresses = st.builds(Address, text=st.text(printable, max_size=20), ton=octet, npi=octet)
submits = st.builds(
    Submit,
    source=addresses,
    destination=addresses,
    short_message=st.binary(max_size=254),
    data_coding=octet,
    esm_class=octet,
    registered_delivery=octet,
    validity_period=st.sampled_from(["", "000002000000000R", "261121120000000+"]),
)


def encode(submit: Submit, sequence: int) -> bytes:
    """A whole submit_sm as a session writes it."""
    body = packed.submit_body(submit)
    return packed.submit_header(body, sequence) + body


def by_smpplib(submit: Submit, sequence: int) -> bytes:
    """The same by the codec of record."""
    pdu = smpplib_command.SubmitSM(
        "submit_sm",
        sequence=sequence,
        source_addr_ton=submit.source.ton,
        source_addr_npi=submit.source.npi,
        source_addr=submit.source.text,
        dest_addr_ton=submit.destination.ton,
        dest_addr_npi=submit.destination.npi,
        destination_addr=submit.destination.text,
        esm_class=submit.esm_class,
        validity_period=submit.validity_period,
        registered_delivery=submit.registered_delivery,
        data_coding=submit.data_coding,
        short_message=submit.short_message,
    )
    pdu.sequence = sequence
    octets: bytes = pdu.generate()
    return octets


# ------------------------------------------------------------------ submit_sm


@given(submits, sequences)
def test_submit_sm_equals_smpplib_s(submit: Submit, sequence: int) -> None:
    """Octet by octet, whatever the fields."""
    assert encode(submit, sequence) == by_smpplib(submit, sequence)


@given(submits, sequences)
def test_submit_sm_is_read_back_by_a_foreign_decoder(submit: Submit, sequence: int) -> None:
    """smpp34 finds each field where SMPP 3.4 wants it, and would write the same octets."""
    pdu = encode(submit, sequence)
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
        packed.submit_body(Submit(**(good | submit)))  # type: ignore[arg-type]

    assert caught.value.field == field


# ------------------------------------------------------------------ submit_sm_resp

message_ids = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=64)


@given(message_ids, sequences)
def test_message_id_is_what_smpplib_reads(message_id: str, sequence: int) -> None:
    """Verbatim: no zero is stripped, no case changed."""
    pdu = wire.pack(0x80000004, 0, sequence, wire.string(message_id))
    theirs = smpplib_command.SubmitSMResp("submit_sm_resp")
    theirs.parse(pdu)

    assert packed.read_message_id(pdu) == message_id
    assert theirs.message_id.decode("latin-1") == message_id


def test_message_id_where_the_body_is_not_as_it_should_be() -> None:
    """Accepted all the same: empty without a body, to the end without a NUL."""
    assert packed.read_message_id(wire.pack(0x80000004, 0, 1)) == ""
    assert packed.read_message_id(wire.pack(0x80000004, 0, 1, b"00aB")) == "00aB"
    assert packed.read_message_id(wire.pack(0x80000004, 0, 1, b"id\0\x14\0\0\0")) == "id"


# ------------------------------------------------------------------ deliver_sm

delivers = st.fixed_dictionaries(
    {
        "source": addresses,
        "destination": addresses,
        "esm_class": octet,
        "data_coding": octet,
        "message": st.binary(max_size=254),
        "service_type": st.sampled_from(["", "CMT"]),
        "validity": st.sampled_from(["", "000002000000000R"]),
        "schedule": st.sampled_from(["", "261121120000000+"]),
    }
)


@given(delivers, sequences)
def test_deliver_sm_is_read_as_smpplib_reads_it(fields: dict[str, object], number: int) -> None:
    """What smpplib writes and reads is read here with the same fields."""
    source, destination = fields["source"], fields["destination"]
    assert isinstance(source, Address)
    assert isinstance(destination, Address)
    written = smpplib_command.DeliverSM(
        "deliver_sm",
        sequence=number,
        service_type=fields["service_type"],
        source_addr_ton=source.ton,
        source_addr_npi=source.npi,
        source_addr=source.text,
        dest_addr_ton=destination.ton,
        dest_addr_npi=destination.npi,
        destination_addr=destination.text,
        esm_class=fields["esm_class"],
        data_coding=fields["data_coding"],
        schedule_delivery_time=fields["schedule"],
        validity_period=fields["validity"],
        short_message=fields["message"],
    )
    pdu = written.generate()
    theirs = smpplib_command.DeliverSM("deliver_sm", sequence=number)
    theirs.parse(pdu)
    ours = packed.read_deliver(pdu)

    assert (ours.source, ours.destination) == (source, destination)
    assert ours.source.text == theirs.source_addr.decode()
    assert ours.destination.text == theirs.destination_addr.decode()
    assert (ours.source.ton, ours.source.npi) == (theirs.source_addr_ton, theirs.source_addr_npi)
    assert ours.esm_class == theirs.esm_class == fields["esm_class"]
    assert ours.data_coding == theirs.data_coding == fields["data_coding"]
    assert ours.message == (theirs.short_message or b"") == fields["message"]
    assert ours.tlvs == {}


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
    read = packed.read_deliver(pdu)

    assert read.message == message or (not message and read.message == tlvs.get(0x0424, b""))
    assert read.tlvs == tlvs
    assert (read.source.text, read.destination.text) == ("4915112345678", "Acme")


@given(st.binary(max_size=400))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """No body raises anything but Malformed."""
    try:
        deliver = packed.read_deliver(wire.pack(codec.DELIVER_SM, 0, 1, body))
    except Malformed:
        return
    assert isinstance(deliver.message, bytes)


@given(delivers, st.data())
def test_a_torn_deliver_sm_is_refused(fields: dict[str, object], data: st.DataObject) -> None:
    """Wherever it is torn: no field is made up."""
    source, message = fields["source"], fields["message"]
    assert isinstance(source, Address)
    assert isinstance(message, bytes)
    address = bytes((source.ton, source.npi)) + wire.string(source.text)
    body = b"\0" + address * 2 + b"\4\0\0\0\0\0\0\0\0" + bytes((len(message),)) + message
    torn = body[: data.draw(st.integers(0, len(body) - 1))]

    assert packed.read_deliver(wire.pack(codec.DELIVER_SM, 0, 1, body)).message == message
    with pytest.raises(Malformed):
        packed.read_deliver(wire.pack(codec.DELIVER_SM, 0, 1, torn))


@given(sequences, st.sampled_from([0, 0x02, 0x64]))
def test_deliver_sm_resp_equals_smpplib_s(sequence: int, status: int) -> None:
    """Octet by octet."""
    pdu = smpplib_command.DeliverSMResp("deliver_sm_resp", status=status)
    pdu.sequence = sequence

    assert packed.deliver_response(sequence, status) == pdu.generate()
