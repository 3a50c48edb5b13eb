"""Type of number and numbering plan by the rules, and what is no address."""

from __future__ import annotations

import pytest

from ignition_ext.channels.smpp.addresses import (
    AddressRefused,
    destination_address,
    source_address,
)


@pytest.mark.parametrize(
    ("text", "address", "ton", "npi"),
    [
        ("Acme", "Acme", 5, 0),
        ("Acme Ltd 24", "Acme Ltd 24", 5, 0),
        ("Tom & Co", "Tom & Co", 5, 0),
        ("+4915112345678", "4915112345678", 1, 1),
        ("4915112345678", "4915112345678", 1, 1),
        ("12345", "12345", 3, 0),
        ("123", "123", 3, 0),
    ],
)
def test_senders(text: str, address: str, ton: int, npi: int) -> None:
    """Letters, international numbers, short codes."""
    source = source_address(text)

    assert (source.text, source.ton, source.npi) == (address, ton, npi)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Twelve chars",
        "Ac\r\nme",
        "Ac\x00me",
        "Açme",
        "Ştore",
        "A{me}",
        "€uro",
        "1234 5678",
        "--",
        "12",
        "1" * 16,
        "+12345",
        "😀",
    ],
)
def test_what_no_sender_can_be(text: str) -> None:
    """Twelve characters, control characters, another alphabet, digits of no length."""
    with pytest.raises(AddressRefused):
        source_address(text)


@pytest.mark.parametrize(
    ("text", "ton", "npi"), [("+4915112345678", 1, 1), ("72345", 3, 0), ("+1234567", 1, 1)]
)
def test_recipients(text: str, ton: int, npi: int) -> None:
    """Without the plus; short codes as they are."""
    address = destination_address(text)

    assert (address.text, address.ton, address.npi) == (text.removeprefix("+"), ton, npi)


@pytest.mark.parametrize("text", ["", "Acme", "+49 151", "+4915x12", "٤٩١٥١", "4" * 21, "0\r\n1"])
def test_what_no_recipient_can_be(text: str) -> None:
    """A number of 21 digits is refused; cut, it would be somebody else's."""
    with pytest.raises(AddressRefused):
        destination_address(text)


def test_the_operator_overrides_the_rules() -> None:
    """Providers differ; also a zero counts."""
    source = source_address("Acme", ton=0, npi=1)
    destination = destination_address("+4915112345678", ton=2, npi=0)

    assert (source.ton, source.npi) == (0, 1)
    assert (destination.ton, destination.npi) == (2, 0)
