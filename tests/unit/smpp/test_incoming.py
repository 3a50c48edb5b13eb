"""Texts from handsets: every alphabet, every way to tie parts together, and nonsense."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smpp import Alphabet, segment
from ignition_ext.channels.smpp.alphabets import (
    DEFAULT,
    EXTENSION,
    PORTUGUESE_LOCKING,
    PORTUGUESE_SINGLE,
    SPANISH_SINGLE,
    TURKISH_LOCKING,
    TURKISH_SINGLE,
)
from ignition_ext.channels.smpp.codec import Address, Deliver, Malformed
from ignition_ext.channels.smpp.incoming import Identity, SmsFragment, read_incoming
from ignition_ext.channels.smpp.incoming_text import join_text, unpack
from ignition_ext.channels.smpp.packed import read_deliver
from ignition_ext.channels.smpp.receipt import is_receipt, read_receipt

UDH = 0x40
GSM = "".join(DEFAULT.replace("\x1b", "")) + "".join(EXTENSION)
LETTERS = {
    Alphabet.GSM7: GSM,
    Alphabet.UCS2: "aşПривет你好😀👩\u200d👩\u200d👧é",
    Alphabet.LATIN1: "".join(map(chr, range(0x20, 0x7F))) + "áéíóúñÞßæ",
    Alphabet.TURKISH: "".join(TURKISH_SINGLE) + "abç",
    Alphabet.TURKISH_LOCKING: TURKISH_LOCKING.replace("\x1b", "") + "".join(TURKISH_SINGLE),
    Alphabet.SPANISH: "".join(SPANISH_SINGLE) + "añ",
    Alphabet.PORTUGUESE: "".join(PORTUGUESE_SINGLE) + "ab",
    Alphabet.PORTUGUESE_LOCKING: PORTUGUESE_LOCKING.replace("\x1b", "")
    + "".join(PORTUGUESE_SINGLE),
}


def deliver(
    message: bytes,
    *,
    coding: int = 0,
    esm_class: int = 0,
    ton: int = 1,
    tlvs: dict[int, bytes] | None = None,
) -> Deliver:
    return Deliver(
        source=Address(text="4917012345678", ton=ton, npi=1),
        destination=Address(text="12345", ton=3, npi=0),
        esm_class=esm_class,
        data_coding=coding,
        message=message,
        tlvs=tlvs or {},
    )


def read(message: bytes, **facts: object) -> SmsFragment:
    return read_incoming(deliver(message, **facts), bind="b")  # type: ignore[arg-type]


def pack(septets: bytes, padding: int = 0) -> bytes:
    """Septets as TS 23.038 section 6.1.2.1 packs them."""
    bits = sum(septet << 7 * index for index, septet in enumerate(septets)) << padding
    return bits.to_bytes(-(-(7 * len(septets) + padding) // 8), "little")


@pytest.mark.parametrize("alphabet", list(LETTERS), ids=str)
@pytest.mark.parametrize("wide", [False, True], ids=["8-bit", "16-bit"])
def test_what_the_segmenter_writes_comes_back(alphabet: Alphabet, wide: bool) -> None:
    """One part and many, each alphabet, either width of the reference."""
    for text in (LETTERS[alphabet], LETTERS[alphabet] * 5):
        made = segment(text, alphabet=alphabet, reference=7, wide_reference=wide, max_parts=255)
        fragments = [
            read(part, coding=made.data_coding, esm_class=UDH if made.has_header else 0)
            for part in made.parts
        ]

        assert join_text(fragments, alphabet) == text
        assert [one.parts for one in fragments] == [len(made.parts)] * len(made.parts)
        if len(fragments) > 1:
            assert [one.part for one in fragments] == list(range(1, len(fragments) + 1))
            assert {one.reference for one in fragments} == {"udh16:7" if wide else "udh8:7"}


@given(st.text(alphabet=GSM, min_size=1, max_size=300), st.integers(0, 6))
def test_packed_septets_come_back(text: str, padding: int) -> None:
    """Whatever stands in them; what looks like fill bits at the end is none."""
    septets = segment(text[:150] + "x").parts[0]

    assert unpack(pack(septets, padding), padding) == septets


def test_packed_and_latin_1_texts_are_recognised() -> None:
    """Octets above 0x7F are no seven-bit characters."""
    assert join_text([read(pack(b"STOP"))]) == "STOP"
    assert join_text([read("Stöpp".encode("latin-1"))]) == "Stöpp"
    header = bytes([5, 0, 3, 9, 2, 1])
    packed = read(header + pack(b"Hello there", padding=1), esm_class=UDH)
    assert (packed.padding, join_text([packed])) == (1, "Hello there")


def test_surrogates_and_escapes_cut_by_the_handset_are_joined() -> None:
    """Half a pair in one part, the other in the next."""
    octets = "ab😀".encode("utf-16-be")
    cut = [
        read(bytes([5, 0, 3, 1, 2, number]) + piece, coding=8, esm_class=UDH)
        for number, piece in ((1, octets[:6]), (2, octets[6:]))
    ]
    assert join_text(cut) == "ab😀"
    cut = [
        read(bytes([5, 0, 3, 1, 2, number]) + piece, esm_class=UDH)
        for number, piece in ((1, b"5 \x1b"), (2, b"\x65"))
    ]
    assert join_text(cut) == "5 €"


def test_parts_tied_by_tlvs() -> None:
    """sar_msg_ref_num, sar_total_segments, sar_segment_seqnum."""
    tlvs = {0x020C: b"\x01\x02", 0x020E: b"\x03", 0x020F: b"\x02"}
    one = read(b"abc", tlvs=tlvs)
    assert (one.reference, one.part, one.parts) == ("sar:258", 2, 3)
    for wrong in ({0x020F: b"\x04"}, {0x020E: b""}, {0x020E: b"\0"}, {0x020C: b""}):
        assert read(b"abc", tlvs=tlvs | wrong).parts == 1


@pytest.mark.parametrize(
    ("coding", "octets", "text"),
    [
        (0, b"A\x00\x1b\x65", "A@€"),
        (1, b"Stop!", "Stop!"),
        (3, b"Gr\xfc\xdfe", "Grüße"),
        (6, "Привет".encode("iso8859-5"), "Привет"),
        (7, "שלום".encode("iso8859-8"), "שלום"),
        (8, "\ufeffПривет".encode("utf-16-be"), "Привет"),
        (8, b"\0A\0", "A\ufffd"),
        (8, b"\xd8\x3d", "\ufffd"),
        (0x10, b"flash", "flash"),
        (0x18, "ж".encode("utf-16-be"), "ж"),
        (0xF0, b"flash", "flash"),
        (0xE0, "ж".encode("utf-16-be"), "ж"),
        (0x09, b"\x1b", ""),
    ],
)
def test_data_codings(coding: int, octets: bytes, text: str) -> None:
    """As SMPP 3.4 section 5.2.19 and TS 23.038 section 4 number them."""
    fragment = read(octets, coding=coding)

    assert join_text([fragment]) == text
    assert not fragment.is_binary


def test_binary_is_not_read() -> None:
    """Eight-bit data, and what is addressed to an application on the handset."""
    assert read(b"\1\2", coding=4).is_binary
    assert read(b"\1\2", coding=2).is_binary
    assert read(b"\1\2", coding=0xF5).is_binary
    assert read(bytes([6, 5, 4, 0x0B, 0x84, 0, 0]) + b"\1", esm_class=UDH).is_binary


@pytest.mark.parametrize(
    "header",
    [b"", b"\xff", b"\x05", b"\x05\x00\x03\x01", b"\x02\x00\x09", b"\x05\x00\x03\x01\x02\x05"],
    ids=["none", "too long", "alone", "torn", "torn element", "part 5 of 2"],
)
def test_a_header_that_makes_no_sense_ties_nothing(header: bytes) -> None:
    """It becomes a text of one part; nothing is lost."""
    fragment = read(header + b"hi" if header not in (b"", b"\xff") else header, esm_class=UDH)

    assert (fragment.parts, fragment.part, fragment.reference) == (1, 1, "")
    join_text([fragment])


def test_numbers_get_their_plus() -> None:
    """Where the SMSC calls them international."""
    assert read(b"a").source == "+4917012345678"
    assert read(b"a", ton=0).source == "4917012345678"


def test_the_same_brought_again_has_the_same_digest() -> None:
    """And anything else about it another one."""
    assert read(b"a").digest == read(b"a").digest
    others = [read(b"b"), read(b"a", coding=1), read(b"a", tlvs={0x0204: b"\0\1"})]
    assert len({one.digest for one in [read(b"a"), *others]}) == 4


@pytest.mark.parametrize(
    ("tlvs", "identity"),
    [
        ({}, Identity.NONE),
        ({0x0204: b"\x00\x00"}, Identity.NONE),
        ({0x0204: b"\x00\x07"}, Identity.REFERENCE),
        ({0x001E: b"4711\0"}, Identity.ID),
        ({0x001E: b"\0"}, Identity.NONE),
        ({0x1502: b"c0ffee"}, Identity.ID),
        ({0x1503: b"262"}, Identity.NONE),
    ],
)
def test_a_number_of_its_own_tells_texts_apart(tlvs: dict[int, bytes], identity: Identity) -> None:
    """The SMSC's id, in the TLV that the block names too; then the handset's reference."""
    one = read_incoming(deliver(b"a", tlvs=tlvs), bind="b", id_tlv=0x1502)
    plain = read_incoming(deliver(b"a"), bind="b", id_tlv=0x1502)

    assert one.identity is identity
    if identity is not Identity.NONE:
        assert one.digest != plain.digest
    assert read(b"a", tlvs={0x1502: b"c0ffee"}).digest == plain.digest


@given(
    st.binary(max_size=300),
    st.integers(0, 255),
    st.integers(0, 255),
    st.dictionaries(st.sampled_from([0x020C, 0x020E, 0x020F, 0x0424, 0x1E]), st.binary(max_size=3)),
)
def test_nothing_that_comes_is_an_error(
    message: bytes, coding: int, esm_class: int, tlvs: dict[int, bytes]
) -> None:
    """Any octets, any header, any coding become a text that a database can take."""
    fragment = read(message, coding=coding, esm_class=esm_class, tlvs=tlvs)

    assert 1 <= fragment.part <= fragment.parts <= 255
    for alphabet in Alphabet:
        join_text([fragment, fragment], alphabet).encode("utf-8")


@given(st.binary(max_size=120))
def test_any_pdu_is_read_or_called_malformed(body: bytes) -> None:
    """No deliver_sm crashes the bind."""
    pdu = struct.pack(">LLLL", 16 + len(body), 5, 0, 1) + body
    try:
        found = read_deliver(pdu)
    except Malformed:
        return
    if is_receipt(found):
        read_receipt(found, bind="b")
    else:
        join_text([read_incoming(found, bind="b")])
