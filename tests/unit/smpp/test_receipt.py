"""Receipts as SMSCs really write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smpp.codec import Address, Deliver
from ignition_ext.channels.smpp.desk import Awaited
from ignition_ext.channels.smpp.options import ReceiptIdFormat
from ignition_ext.channels.smpp.receipt import (
    comparable,
    is_receipt,
    parse_text,
    read_receipt,
    receipt_ids,
)
from ignition_ext.values import MessageState

FULL = (
    "id:0123456789 sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 "
    "stat:DELIVRD err:000 text:Hello"
)


def deliver(message: bytes | str, **changes: object) -> Deliver:
    """A receipt from a handset."""
    values: dict[str, object] = {
        "source": Address(text="4915112345678", ton=1, npi=1),
        "destination": Address(text="Acme", ton=5, npi=0),
        "esm_class": 0x04,
        "data_coding": 0,
        "message": message.encode() if isinstance(message, str) else message,
    }
    return Deliver(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "provider_id", "state", "status", "code"),
    [
        (FULL, "0123456789", MessageState.DELIVERED, "DELIVRD", "000"),
        (FULL.upper(), "0123456789", MessageState.DELIVERED, "DELIVRD", "000"),
        ("id:7 stat:UNDELIV err:027", "7", MessageState.FAILED, "UNDELIV", "027"),
        ("stat:EXPIRED id:7", "7", MessageState.EXPIRED, "EXPIRED", ""),
        ("id:7 done date:261121120159 stat:REJECTD", "7", MessageState.FAILED, "REJECTD", ""),
        ("id:7 stat:FAILED err:1", "7", MessageState.FAILED, "UNDELIV", "1"),
        ("id:7 stat:ENROUTE", "7", None, "ENROUTE", ""),
        ("id:7 stat:ACCEPTD", "7", None, "ACCEPTD", ""),
        ("id:7 stat:UNKNOWN", "7", None, "UNKNOWN", ""),
        ("id:7 stat:DELETED", "7", MessageState.FAILED, "DELETED", ""),
        ("id:1101C1-C9D03D-F000 stat:DELIVRD", "1101C1-C9D03D-F000", MessageState.DELIVERED,
         "DELIVRD", ""),
        ("id:SAR-7-2-1 stat:DELIVRD", "SAR-7-2-1", MessageState.DELIVERED, "DELIVRD", ""),
        ("id: 7 stat: DELIVRD err: 0", "7", MessageState.DELIVERED, "DELIVRD", "0"),
        ("id:7 stat:UNDELIV err:5 text:stat:DELIVRD id:8", "7", MessageState.FAILED, "UNDELIV",
         "5"),
        ("id:7 stat:UNDELIV Text:stat:DELIVRD", "7", MessageState.FAILED, "UNDELIV", ""),
        ("text:id:8 stat:DELIVRD", "", None, "", ""),
        ("", "", None, "", ""),
    ],
)  # fmt: skip
def test_texts_from_the_wild(
    text: str, provider_id: str, state: MessageState | None, status: str, code: str
) -> None:
    """Any order and case, fields missing, the user's text believed in nothing."""
    receipt = read_receipt(deliver(text), bind="b")

    assert (receipt.provider_id, receipt.state) == (provider_id, state)
    assert (receipt.status, receipt.code) == (status, code)
    assert receipt.raw == text


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_tlvs_win_over_the_text(end: bytes) -> None:
    """receipted_message_id with or without NUL, and message_state."""
    tlvs = {0x001E: b"00aB" + end, 0x0427: b"\x05", 0x1400: b"vendor"}
    receipt = read_receipt(deliver("id:9 stat:DELIVRD err:000", tlvs=tlvs), bind="b")

    assert (receipt.provider_id, receipt.state) == ("00aB", MessageState.FAILED)
    assert receipt.status == "UNDELIV"


def test_a_receipt_of_tlvs_alone() -> None:
    """Some SMSCs send no text; network_error_code stands in for err."""
    tlvs = {0x001E: b"7", 0x0427: b"\x02", 0x0423: b"\x03\x00\x1b"}
    receipt = read_receipt(deliver(b"", tlvs=tlvs), bind="b")

    assert (receipt.provider_id, receipt.state) == ("7", MessageState.DELIVERED)
    assert receipt.code == "03001b"


def test_the_text_is_read_by_its_data_coding() -> None:
    """UCS-2, and a user data header before the text."""
    ucs2 = deliver(FULL.encode("utf-16-be"), data_coding=8)
    headed = deliver(b"\x05\x00\x03\x01\x01\x01" + FULL.encode(), esm_class=0x44)

    assert read_receipt(ucs2, bind="b").state is MessageState.DELIVERED
    assert read_receipt(headed, bind="b").provider_id == "0123456789"


@pytest.mark.parametrize(
    ("esm_class", "tlvs", "expected"),
    [
        (0x04, {}, True),
        (0x20, {}, True),
        (0x44, {}, True),
        (0x00, {0x001E: b"7"}, True),
        (0x00, {}, False),
        (0x40, {}, False),
        (0x08, {}, False),
    ],
)
def test_what_is_a_receipt(esm_class: int, tlvs: dict[int, bytes], expected: bool) -> None:
    """A handset's message is none, whatever its text claims."""
    assert is_receipt(deliver(FULL, esm_class=esm_class, tlvs=tlvs)) is expected


@pytest.mark.parametrize(
    ("text", "tlvs", "expected"),
    [
        (b"STOP", {}, False),
        (b"", {0x0427: b"\x02"}, True),
        (b"text:stat:DELIVRD", {}, False),
    ],
)
def test_an_id_alone_makes_no_receipt(text: bytes, tlvs: dict[int, bytes], expected: bool) -> None:
    """Some SMSCs number handsets' messages in receipted_message_id: a STOP must not be lost."""
    assert is_receipt(deliver(text, esm_class=0, tlvs={0x001E: b"7\0"} | tlvs)) is expected


def test_the_handset_is_named_as_the_audience_writes_it() -> None:
    """International numbers with a plus, others as they came."""
    national = Address(text="015112345678", ton=2, npi=1)

    assert read_receipt(deliver(FULL), bind="b").destination == "+4915112345678"
    assert read_receipt(deliver(FULL, source=national), bind="b").destination == "015112345678"


@given(
    st.binary(max_size=254),
    st.integers(0, 255),
    st.dictionaries(st.sampled_from([0x001E, 0x0427, 0x0423, 0x1400]), st.binary(max_size=70)),
)
def test_any_receipt_is_read(message: bytes, data_coding: int, tlvs: dict[int, bytes]) -> None:
    """A receipt that makes no sense is stored as it came; it never costs the bind."""
    one = deliver(message, data_coding=data_coding, tlvs=tlvs)
    receipt = read_receipt(one, bind="b")

    assert len(receipt.status) <= 20
    assert len(receipt.code) <= 20


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    """Nothing behind ``text:`` is read."""
    assert parse_text("text:" + text) == {}
    assert parse_text(text).keys() <= {"id", "stat", "err"}


@pytest.mark.parametrize(
    ("answered", "told", "id_format"),
    [
        ("00ab", "00ab", ReceiptIdFormat.SAME),
        ("1f", "31", ReceiptIdFormat.HEX_TO_DEC),
        ("31", "1f", ReceiptIdFormat.DEC_TO_HEX),
        ("0000001F", "31", ReceiptIdFormat.AUTO),
        ("31", "1F", ReceiptIdFormat.AUTO),
        ("00aB", "AB", ReceiptIdFormat.AUTO),
        ("0042", "42", ReceiptIdFormat.AUTO),
    ],
)
def test_ids_that_receipts_change(answered: str, told: str, id_format: ReceiptIdFormat) -> None:
    """Hexadecimal and decimal, padding, case."""
    assert comparable(told) in {comparable(one) for one in receipt_ids(answered, id_format)}


def test_same_means_same() -> None:
    """With ``same`` a decimal look-alike is another message."""
    assert receipt_ids("1f", ReceiptIdFormat.SAME) == {"1f"}
    assert receipt_ids("no number", ReceiptIdFormat.HEX_TO_DEC) == {"no number"}


def test_awaited_receipts_are_counted_in_any_order() -> None:
    """A receipt before its response, a copy, and an intermediate one."""
    awaited = Awaited(ReceiptIdFormat.AUTO)
    early = read_receipt(deliver("id:10 stat:DELIVRD"), bind="b")
    later = read_receipt(deliver("id:B stat:DELIVRD"), bind="b")

    awaited.received(early)
    awaited.accepted("a")
    assert awaited.count == 0

    awaited.accepted("11")
    awaited.received(read_receipt(deliver("id:11 stat:ENROUTE"), bind="b"))
    assert awaited.count == 1
    awaited.received(later)
    awaited.received(later)
    assert awaited.count == 0
