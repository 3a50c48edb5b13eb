"""A stream in any pieces gives the same PDUs; a length that cannot be is refused at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smpp.framing import LONGEST_PDU, Framer, FramingError

pdus = st.lists(
    st.binary(max_size=300).map(
        lambda body: (16 + len(body)).to_bytes(4, "big") + b"\0" * 12 + body
    )
)


@given(pdus, st.data())
def test_any_chunking_gives_the_same_pdus(whole: list[bytes], data: st.DataObject) -> None:
    """Also octet by octet, also many at once."""
    stream = b"".join(whole)
    framer, found, at = Framer(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        found += framer.feed(stream[at : at + size])
        at += size

    assert found == whole
    assert framer.held == 0


@pytest.mark.parametrize("length", [0, 8, 15, LONGEST_PDU + 1, 0xFFFFFFFF])
def test_impossible_lengths_are_refused(length: int) -> None:
    """Length 8 has no header, 0xFFFFFFFF would wait for 4 GiB."""
    with pytest.raises(FramingError):
        Framer().feed(length.to_bytes(4, "big"))


@pytest.mark.parametrize("length", [16, LONGEST_PDU])
def test_the_limits_themselves_are_allowed(length: int) -> None:
    """A header alone is a PDU; so is the longest."""
    pdu = length.to_bytes(4, "big") + b"\0" * (length - 4)

    assert Framer().feed(pdu) == [pdu]


def test_half_a_pdu_waits() -> None:
    """Partial octets are kept however long the pause."""
    pdu = (20).to_bytes(4, "big") + b"x" * 16
    framer = Framer()

    assert framer.feed(pdu[:7]) == []
    assert framer.held == 7
    assert framer.feed(pdu[7:] + pdu) == [pdu, pdu]


@given(pdus.filter(bool), st.data())
def test_what_came_before_a_broken_length_is_kept(whole: list[bytes], data: st.DataObject) -> None:
    """An answer is an answer, also when nonsense follows in the same piece."""
    stream = b"".join(whole) + b"\xff" * 16
    cut = data.draw(st.integers(0, len(stream) - 17))
    framer = Framer()
    found = framer.feed(stream[:cut])
    with pytest.raises(FramingError) as caught:
        framer.feed(stream[cut:])

    assert [*found, *caught.value.pdus] == whole
