"""From text to the octets of ``short_message`` and back (SMPP 3.4 section 5.2.19).

One septet travels as one octet: SMSCs pack, ESMEs do not.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, assert_never

from ignition_ext.channels.smpp import alphabets

USER_DATA_OCTETS = 140
"""What one short message holds on the air (TS 23.040 section 9.2.3.24), whatever the alphabet."""

_IEI_SINGLE_SHIFT, _IEI_LOCKING_SHIFT = 0x24, 0x25


class Alphabet(StrEnum):
    """What an SMSC can be given besides UCS-2, which is always the last resort.

    The national ones need an SMSC and a network that know national language shift tables; many
    do not, so they are never chosen unless the operator names them. ``latin1`` says so in
    ``data_coding`` 3; ``latin1-default`` is for SMSCs whose default alphabet (0) is Latin-1.
    """

    GSM7 = "gsm7"
    LATIN1 = "latin1"
    LATIN1_DEFAULT = "latin1-default"
    UCS2 = "ucs2"
    TURKISH = "gsm7-turkish"
    TURKISH_LOCKING = "gsm7-turkish-locking"
    SPANISH = "gsm7-spanish"
    PORTUGUESE = "gsm7-portuguese"
    PORTUGUESE_LOCKING = "gsm7-portuguese-locking"


_AT = 0x80
"""Where ``@`` is written for a moment: Python's quick tables want NUL in the first place, and no
septet is above 0x7F."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Septets:
    """A table of TS 23.038, made ready for Python's character map codec.

    Attributes:
        characters: matches a text that the table has.
        escaped: characters of the single shift table, each as an escape and the character that
            stands at its septet in the locking one.
        extension: matches one of those.
        mapping: what ``codecs.charmap_encode`` takes.
    """

    characters: re.Pattern[str]
    escaped: Mapping[str, str]
    extension: re.Pattern[str]
    mapping: Any

    def encode(self, text: str) -> bytes:
        """One octet a septet."""
        text = self.extension.sub(self._escape, text)
        octets: bytes = codecs.charmap_encode(text, "strict", self.mapping)[0]
        return octets.replace(bytes((_AT,)), b"\0")

    def _escape(self, found: re.Match[str]) -> str:
        return self.escaped[found[0]]


def _table(locking: str, single: Mapping[str, int]) -> Septets:
    """The locking table before the single one: what both have costs one septet."""
    alone = {char: code for char, code in single.items() if char not in locking}
    places = ["\0", *locking[1:], locking[0]]
    places += ["\ufffe"] * (256 - len(places))
    return Septets(
        characters=re.compile(
            f"[{re.escape(locking.replace(alphabets.ESC, '') + ''.join(alone))}]*"
        ),
        escaped={char: alphabets.ESC + places[code] for char, code in alone.items()},
        extension=re.compile(f"[{re.escape(''.join(alone))}]"),
        mapping=codecs.charmap_build("".join(places)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """One way to write a text.

    Attributes:
        name: ``gsm7``, ``latin1``, ``ucs2`` or a national one.
        data_coding: SMPP 3.4 section 5.2.19.
        unit_bits: bits a unit takes on the air: 7, 8 or 16; sizes follow from it.
        table: the alphabet's own characters and octets; None where Python's codec does it.
        codec: Python's codec, where there is no table.
        shifts: the information elements that name national tables, for the user data header.
    """

    name: str
    data_coding: int
    unit_bits: int
    table: Septets | None
    codec: str
    shifts: bytes = b""

    def fits(self, text: str) -> bool:
        """Whether every character of ``text`` can be written this way."""
        if self.table is not None:
            return self.table.characters.fullmatch(text) is not None
        return self.codec != "latin-1" or not text or max(text) <= "\xff"

    def encode(self, text: str) -> bytes:
        """The octets of ``text``; the caller asked :meth:`fits` first."""
        return text.encode(self.codec) if self.table is None else self.table.encode(text)

    def units(self, text: str) -> int:
        """How many units ``text`` costs: septets, octets or UCS-2 code units."""
        return self.units_of(self.encode(text))

    def units_of(self, octets: bytes) -> int:
        """How many units there are in what :meth:`encode` gave."""
        return len(octets) // 2 if self.unit_bits == 16 else len(octets)

    def capacity(self, header: int) -> int:
        """Units that fit beside a user data header of ``header`` octets (its length included)."""
        return (USER_DATA_OCTETS - header) * 8 // self.unit_bits


def _gsm(name: str, locking: str, single: Mapping[str, int], shifts: bytes = b"") -> Encoder:
    return Encoder(
        name=name,
        data_coding=0,
        unit_bits=7,
        table=_table(locking, single),
        codec="latin-1",
        shifts=shifts,
    )


def _shift(element: int, language: int) -> bytes:
    return bytes((element, 1, language))


def _single(name: str, language: int, table: Mapping[str, int]) -> Encoder:
    return _gsm(name, alphabets.DEFAULT, table, _shift(_IEI_SINGLE_SHIFT, language))


def _both(name: str, language: int, locking: str, single: Mapping[str, int]) -> Encoder:
    shifts = _shift(_IEI_SINGLE_SHIFT, language) + _shift(_IEI_LOCKING_SHIFT, language)
    return _gsm(name, locking, single, shifts)


def _latin1(data_coding: int) -> Encoder:
    return Encoder(
        name="latin1",
        data_coding=data_coding,
        unit_bits=8,
        table=None,
        codec="latin-1",
    )


GSM7 = _gsm("gsm7", alphabets.DEFAULT, alphabets.EXTENSION)
UCS2 = Encoder(name="ucs2", data_coding=8, unit_bits=16, table=None, codec="utf-16-be")


@cache
def encoders(alphabet: Alphabet) -> tuple[Encoder, ...]:
    """The ways to try, cheapest first; the last takes every text.

    A national table costs a header, so the plain alphabet comes first where it is enough.
    """
    match alphabet:
        case Alphabet.GSM7:
            ways = [GSM7]
        case Alphabet.LATIN1:
            ways = [_latin1(3)]
        case Alphabet.LATIN1_DEFAULT:
            ways = [_latin1(0)]
        case Alphabet.UCS2:
            ways = []
        case Alphabet.TURKISH:
            ways = [GSM7, _single(alphabet, 1, alphabets.TURKISH_SINGLE)]
        case Alphabet.TURKISH_LOCKING:
            single, locking = alphabets.TURKISH_SINGLE, alphabets.TURKISH_LOCKING
            ways = [GSM7, _both(alphabet, 1, locking, single)]
        case Alphabet.SPANISH:
            ways = [GSM7, _single(alphabet, 2, alphabets.SPANISH_SINGLE)]
        case Alphabet.PORTUGUESE:
            ways = [GSM7, _single(alphabet, 3, alphabets.PORTUGUESE_SINGLE)]
        case Alphabet.PORTUGUESE_LOCKING:
            single, locking = alphabets.PORTUGUESE_SINGLE, alphabets.PORTUGUESE_LOCKING
            ways = [GSM7, _both(alphabet, 3, locking, single)]
        case _:
            assert_never(alphabet)
    return (*ways, UCS2)


def look_alikes(text: str) -> str:
    """``text`` with typographic characters replaced, if all of it then is GSM-7; else unchanged."""
    replaced = text.translate(alphabets.LOOK_ALIKES)
    return replaced if GSM7.fits(replaced) else text


_EXTENSION_BACK = {code: char for char, code in alphabets.EXTENSION.items()}


def decode(octets: bytes, data_coding: int, alphabet: Alphabet = Alphabet.GSM7) -> str:
    """The text of an incoming ``short_message``; never fails, what is unknown becomes U+FFFD.

    Args:
        octets: the message without its user data header.
        data_coding: SMPP 3.4 section 5.2.19; 0xF0–0xFF and 0x10–0x1F are message classes.
        alphabet: what the SMSC's default (0) is.
    """
    group = data_coding & 0xF0
    coding = data_coding & 0x0C if group in {0x10, 0xF0} else data_coding
    if coding == 8:
        return octets.decode("utf-16-be", errors="replace")
    if coding in {1, 3} or (coding == 0 and alphabet.startswith("latin1")):
        return octets.decode("latin-1")
    if coding in {2, 4}:
        return octets.decode("ascii", errors="replace")
    return _decode_septets(octets)


def _decode_septets(octets: bytes) -> str:
    text, escaped = [], False
    for code in octets:
        if code == 0x1B and not escaped:
            escaped = True
        elif escaped:
            # An escape before a code that the extension lacks shows the default's character.
            text.append(_EXTENSION_BACK.get(code) or _default(code))
            escaped = False
        else:
            text.append(_default(code))
    return "".join(text)


def _default(code: int) -> str:
    return alphabets.DEFAULT[code] if code < 0x80 and code != 0x1B else "\ufffd"
