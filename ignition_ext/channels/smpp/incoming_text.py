"""From the octets of incoming fragments to a text; never fails, what is unknown becomes U+FFFD.

SMSCs hand on one seven-bit character an octet, as SMPP wants it; some leave them packed (TS
23.038 section 6.1.2.1), and some write Latin-1 and call it the default alphabet. Both show by
octets above 0x7F, which no seven-bit character has.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence

from ignition_ext.channels.smpp import alphabets
from ignition_ext.channels.smpp.encoding import Alphabet
from ignition_ext.channels.smpp.incoming import SmsFragment

_ESCAPE, _RETURN = 0x1B, 0x0D
_UNKNOWN = "\ufffd"
_LOCKING: Mapping[int, str] = {1: alphabets.TURKISH_LOCKING, 3: alphabets.PORTUGUESE_LOCKING}
_SINGLE: Mapping[int, Mapping[int, str]] = {
    language: {code: char for char, code in table.items()}
    for language, table in (
        (0, alphabets.EXTENSION),
        (1, alphabets.TURKISH_SINGLE),
        (2, alphabets.SPANISH_SINGLE),
        (3, alphabets.PORTUGUESE_SINGLE),
    )
}
"""National language identifiers of TS 23.038; other languages are read by the default tables, as
the standard asks of whoever does not know them."""
_CODECS: Mapping[int, str] = {
    1: "ascii",
    3: "latin-1",
    5: "shift_jis",
    6: "iso8859-5",
    7: "iso8859-8",
    8: "utf-16-be",
    10: "iso2022_jp",
    14: "euc_kr",
}
"""SMPP 3.4 section 5.2.19; IA5 (1) is ASCII."""
_CLASSES = frozenset({0x10, 0xF0})
_WAITING = {0xC0: 0, 0xD0: 0, 0xE0: 8}
"""Message waiting groups of TS 23.038 section 4: the alphabet that each has."""
_OWN_CONTROLS = frozenset(b"\t\n\r")


def join_text(fragments: Sequence[SmsFragment], alphabet: Alphabet = Alphabet.GSM7) -> str:
    """The text of fragments in order.

    Handsets cut between an escape and its character, and between two surrogates. So octets of
    one kind are joined before they are read.

    Args:
        fragments: one, or those of a longer text that are there.
        alphabet: what the SMSC's default (data_coding 0) is.
    """
    runs: list[tuple[tuple[str, int, int], bytes]] = []
    for fragment in fragments:
        kind, octets = _units(fragment, alphabet)
        if runs and runs[-1][0] == kind:
            runs[-1] = kind, runs[-1][1] + octets
        else:
            runs.append((kind, octets))
    text = "".join(_read(kind, octets) for kind, octets in runs)
    return text.removeprefix("\ufeff")


def _units(fragment: SmsFragment, alphabet: Alphabet) -> tuple[tuple[str, int, int], bytes]:
    """How a fragment is to be read, and its octets or septets."""
    group, coding = fragment.data_coding & 0xF0, fragment.data_coding
    if group in _CLASSES:
        coding &= 0x0C
    coding = _WAITING.get(group, coding)
    if coding in _CODECS:
        return (_CODECS[coding], 0, 0), fragment.octets
    if alphabet in (Alphabet.LATIN1_DEFAULT, Alphabet.LATIN1):
        return ("latin-1", 0, 0), fragment.octets
    if any(octet > 0x7F for octet in fragment.octets):
        if _is_printable(fragment.octets):
            return ("latin-1", 0, 0), fragment.octets
        septets = unpack(fragment.octets, fragment.padding)
    else:
        septets = fragment.octets
    return ("gsm7", fragment.single_shift, fragment.locking_shift), septets


def _is_printable(octets: bytes) -> bool:
    """Whether Latin-1 has a character for each of these; packed septets soon hit a control."""
    return all(0x20 <= octet < 0x7F or octet >= 0xA0 or octet in _OWN_CONTROLS for octet in octets)


def unpack(octets: bytes, padding: int = 0) -> bytes:
    """The septets in packed octets, one an octet (TS 23.038 section 6.1.2.1).

    Args:
        octets: without the user data header.
        padding: fill bits that make the first septet begin where it would without a header.
    """
    bits = int.from_bytes(octets, "little") >> padding
    count, spare = divmod(max(len(octets) * 8 - padding, 0), 7)
    septets = bytes(bits >> 7 * index & 0x7F for index in range(count))
    if septets and not spare and septets[-1] in (0, _RETURN):
        return septets[:-1]  # seven bits were left over, which are no character
    return septets


def _read(kind: tuple[str, int, int], octets: bytes) -> str:
    name, single, locking = kind
    if name != "gsm7":
        return codecs.decode(octets, name, "replace")
    return _read_septets(octets, single, locking)


def _read_septets(septets: bytes, single: int, locking: int) -> str:
    table = _LOCKING.get(locking, alphabets.DEFAULT)
    extension = _SINGLE.get(single, _SINGLE[0])
    text, is_escaped = [], False
    for code in septets:
        if code == _ESCAPE and not is_escaped:
            is_escaped = True
            continue
        # An escape before a code that the extension lacks shows the other table's character.
        char = extension.get(code) if is_escaped else None
        text.append(char or (table[code] if code < 0x80 and code != _ESCAPE else _UNKNOWN))
        is_escaped = False
    return "".join(text)
