"""Type of number and numbering plan of senders and recipients (SMPP 3.4 sections 5.2.5, 5.2.6).

========================  ===  ===
address                   TON  NPI
========================  ===  ===
letters (a sender only)    5    0
E.164 (7 to 15 digits)     1    1
short code (3 to 6)        3    0
========================  ===  ===

Providers differ; what the operator fills in wins.
"""

from __future__ import annotations

from functools import lru_cache

from ignition_ext.channels.smpp.codec import Address
from ignition_ext.channels.smpp.encoding import GSM7

LONGEST_ALPHANUMERIC = 11
"""The PDU field holds 20; a handset shows 11 (TS 23.040 section 9.1.2.5), the rest is cut."""

_SHORT_CODE_DIGITS = range(3, 7)
_E164_DIGITS = range(7, 16)
_EXTENSION = frozenset("^{}\\[]~|€\f")


class AddressRefused(ValueError):
    """An address that no rule covers; the message says why."""


@lru_cache(maxsize=256)  # a campaign has one sender, or one a country
def source_address(text: str, ton: int | None = None, npi: int | None = None) -> Address:
    """The sender's address; ``ton`` and ``npi`` override the rules.

    Raises:
        AddressRefused: too long, empty, or with characters that a sender cannot have.
    """
    number = _number(text)
    if number is not None:
        return _with(number, ton, npi)
    if not 1 <= len(text) <= LONGEST_ALPHANUMERIC:
        raise AddressRefused(
            f"Sender {text!r} has {len(text)} characters; an alphanumeric one has 1 to "
            f"{LONGEST_ALPHANUMERIC}."
        )
    if not text.isascii() or not text.isprintable():
        raise AddressRefused(
            f"Sender {text!r} has characters that SMPP's address field cannot carry."
        )
    if not GSM7.fits(text) or _EXTENSION & set(text) or not any(map(str.isalpha, text)):
        raise AddressRefused(
            f"Sender {text!r} must be of the GSM default alphabet and have a letter, "
            "or be a number in international form or a short code."
        )
    return Address(text=text, ton=5 if ton is None else ton, npi=0 if npi is None else npi)


def destination_address(text: str, ton: int | None = None, npi: int | None = None) -> Address:
    """The recipient's address, ``+`` taken off; ``ton`` and ``npi`` override the rules.

    Raises:
        AddressRefused: not a number in international form and not a short code.
    """
    number = _number(text)
    if number is None:
        raise AddressRefused(
            f"{text!r} is neither a number in international form nor a short code."
        )
    return _with(number, ton, npi)


def _number(text: str) -> tuple[str, int, int] | None:
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if len(digits) in _E164_DIGITS:
        return digits, 1, 1
    if len(digits) in _SHORT_CODE_DIGITS and digits == text:
        return digits, 3, 0
    return None


def _with(number: tuple[str, int, int], ton: int | None, npi: int | None) -> Address:
    digits, rule_ton, rule_npi = number
    return Address(
        text=digits,
        ton=rule_ton if ton is None else ton,
        npi=rule_npi if npi is None else npi,
    )
