"""Ids in the spellings of SMSCs; the index's key never misses what the rule would match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.ledger.provider_ids import (
    ID_FORMATS,
    id_key,
    is_same_number,
    lookup_keys,
    match_rank,
)

numbers = st.integers(0, 2**128)


@st.composite
def spelled(draw: st.DrawFn, number: int) -> str:
    text = draw(st.sampled_from([str(number), f"{number:x}", f"{number:X}"]))
    return text.zfill(draw(st.integers(0, 40)))


@given(data=st.data(), number=numbers, id_format=st.sampled_from(ID_FORMATS))
def test_what_matches_is_found_by_key_both_ways(
    data: st.DataObject, number: int, id_format: str
) -> None:
    """A receipt finds its segment and a segment its early receipt."""
    response, receipt = data.draw(spelled(number)), data.draw(spelled(number))

    if match_rank(response, receipt, id_format) is not None:
        assert id_key(response) in lookup_keys(receipt)
        assert id_key(receipt) in lookup_keys(response)


@given(data=st.data(), number=numbers)
def test_auto_knows_every_spelling_of_a_number(data: st.DataObject, number: int) -> None:
    """Hexadecimal on one side and decimal on the other is a match."""
    response, receipt = data.draw(spelled(number)), data.draw(spelled(number))

    assert match_rank(response, receipt, "auto") is not None


@given(response=st.text(max_size=12), receipt=st.text(max_size=12))
def test_any_text_is_taken(response: str, receipt: str) -> None:
    """No id breaks the matching; the same text always matches, if it is one."""
    for id_format in ID_FORMATS:
        match_rank(response, receipt, id_format)
    lookup_keys(receipt)
    if receipt.strip("\0 "):
        assert match_rank(receipt, receipt, "auto") == 0


def test_verbatim_is_better_than_a_guess() -> None:
    """The rank says how far the spellings are apart."""
    ranks = [
        match_rank("1A2B", told, "auto") for told in ("1A2B", "1a2b", "001a2b", "6699", "1A2C")
    ]

    assert ranks == [0, 1, 2, 3, None]
    # Digits of other scripts are numbers to int(), but no SMSC means them.
    assert match_rank("12", "١٢", "hex_to_dec") is None


@pytest.mark.parametrize(
    ("address", "destination", "same"),
    [
        ("+4917012345678", "4917012345678", True),
        ("+4917012345678", "004917012345678", True),
        ("+4917012345678", "017012345678", True),
        ("+4917012345678", "+49 170 1234-5678", True),
        ("+4917012345678", "4917012345679", False),
        ("+4917012345678", "5678", False),
        ("+4917012345678", "", False),
        ("12345", "12345", True),
    ],
)
def test_numbers_are_compared_by_their_digits(address: str, destination: str, same: bool) -> None:
    """International, with 00, national: the same; too few digits prove nothing."""
    assert is_same_number(address, destination) is same
