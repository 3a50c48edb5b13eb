"""Whether a receipt's id and a response's id name the same SMS.

SMSCs answer ``submit_sm`` with one spelling and write another into the receipt: the same number
in hexadecimal and decimal, padded with zeros, in other case. The id is stored verbatim; beside it
stands a key (case and leading zeros taken off) that an index finds, and the exact rule decides.
"""

from __future__ import annotations

import re

ID_FORMATS = ("auto", "same", "hex_to_dec", "dec_to_hex")
"""As on a gateway: how the response writes the id, and how the receipt does.

``hex_to_dec``: hexadecimal in the response, decimal in the receipt; ``dec_to_hex``: the reverse.
"""
_DECIMAL = re.compile(r"[0-9]+")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]+")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]+")
_SHORTEST_NATIONAL = 7
"""Fewer common digits at the end than this do not make two numbers the same subscriber."""


def id_key(provider_id: str) -> str:
    """The form that the index holds: without padding, in one case."""
    return provider_id.strip("\0 ").casefold().lstrip("0") or "0"


def lookup_keys(provider_id: str) -> frozenset[str]:
    """Every key under which the other spelling of this id can stand, whatever the format."""
    plain = provider_id.strip("\0 ")
    keys = {id_key(plain)}
    if _DECIMAL.fullmatch(plain):
        keys.add(format(int(plain, 10), "x"))
    if _HEXADECIMAL.fullmatch(plain):
        keys.add(str(int(plain, 16)))
    return frozenset(keys)


def match_rank(response_id: str, receipt_id: str, id_format: str) -> int | None:
    """How well two ids fit under a format: 0 is verbatim, more is weaker, None is not at all."""
    response, receipt = response_id.strip("\0 "), receipt_id.strip("\0 ")
    if not response or not receipt:
        return None
    match id_format:
        case "same":
            return 0 if response == receipt else None
        case "hex_to_dec":
            return 0 if _equal(response, 16, receipt, 10) else None
        case "dec_to_hex":
            return 0 if _equal(response, 10, receipt, 16) else None
        case _:
            return _auto_rank(response, receipt)


def _auto_rank(response: str, receipt: str) -> int | None:
    if response == receipt:
        return 0
    if response.casefold() == receipt.casefold():
        return 1
    if id_key(response) == id_key(receipt):
        return 2
    if _equal(response, 16, receipt, 10):
        return 3
    return 4 if _equal(response, 10, receipt, 16) else None


def _equal(response: str, response_base: int, receipt: str, receipt_base: int) -> bool:
    numbers = []
    for text, base in ((response, response_base), (receipt, receipt_base)):
        pattern = _DECIMAL if base == 10 else _HEXADECIMAL
        if not pattern.fullmatch(text):
            return False
        numbers.append(int(text, base))
    return numbers[0] == numbers[1]


def is_same_number(address: str, destination: str) -> bool:
    """Whether a receipt's number is the message's: also without ``+``, with 00, or national."""
    if address == destination and _INTERNATIONAL.fullmatch(address):
        return True  # as most come
    ours, theirs = (re.sub(r"[^0-9]", "", text).lstrip("0") for text in (address, destination))
    if not ours or not theirs:
        return False
    short, long = sorted((ours, theirs), key=len)
    return short == long or (len(short) >= _SHORTEST_NATIONAL and long.endswith(short))
