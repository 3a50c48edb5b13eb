"""The alphabets, against what Python knows and against each other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib.gsm import gsm_encode

from ignition_ext.channels.smpp import alphabets
from ignition_ext.channels.smpp.encoding import GSM7, Alphabet, decode, encoders


@pytest.mark.parametrize(
    "table", [alphabets.DEFAULT, alphabets.TURKISH_LOCKING, alphabets.PORTUGUESE_LOCKING]
)
def test_tables_have_128_places_and_one_escape(table: str) -> None:
    """A slip in a table would move every character behind it."""
    assert len(table) == 128
    assert table.index("\x1b") == 0x1B
    assert len(set(table)) == 128


@given(st.text(st.sampled_from(re.sub("[\x1b§]", "", alphabets.DEFAULT) + "^{}\\[~]|€")))
def test_gsm_is_written_as_smpplib_writes_it(text: str) -> None:
    """Ours has the same octets; its table lacks form feed, and has ` where § is."""
    assert GSM7.encode(text) == gsm_encode(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_fits_comes_back(text: str) -> None:
    """Every alphabet that says a text fits can be read back, as SMSCs send replies."""
    for alphabet in (Alphabet.GSM7, Alphabet.LATIN1, Alphabet.LATIN1_DEFAULT, Alphabet.UCS2):
        for encoder in encoders(alphabet):
            if encoder.fits(text):
                assert decode(encoder.encode(text), encoder.data_coding, alphabet) == text
                octets = 2 if encoder.unit_bits == 16 else 1
                assert encoder.units(text) * octets == len(encoder.encode(text))


@given(st.binary(), st.integers(0, 255))
def test_decoding_never_fails(octets: bytes, data_coding: int) -> None:
    """A receipt in a strange alphabet must not cost the bind."""
    assert isinstance(decode(octets, data_coding), str)


@pytest.mark.parametrize(
    ("octets", "data_coding", "text"),
    [
        (b"Gr\x7e\xe1\xdfe", 3, "Gr~áße"),
        (b"\x00\x1be\x02", 0, "@€$"),
        (b"\x04\x1f\x04@", 8, "Пр"),
        (b"\x00", 0xF1, "@"),
        (b"\x04\x1f", 0x18, "П"),
        (b"\x1b", 0, ""),
        (b"abc", 4, "abc"),
    ],
)
def test_data_codings(octets: bytes, data_coding: int, text: str) -> None:
    """GSM, Latin-1, UCS-2, and the message classes of either."""
    assert decode(octets, data_coding) == text


def test_the_default_alphabet_of_a_latin1_smsc_is_latin1() -> None:
    """data_coding 0 means what the SMSC says it means."""
    assert decode(b"\xe9", 0, Alphabet.LATIN1_DEFAULT) == "é"
    assert decode(b"\x05", 0) == "é"
