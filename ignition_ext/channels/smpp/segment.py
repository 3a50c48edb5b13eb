"""Cuts a text into the ``short_message`` fields of one SMS (TS 23.040 section 9.2.3.24.1).

An extension character is never parted from its escape, a code point never into surrogates. The
number of parts is the least possible, because each is paid for; among cuttings with that number,
one that keeps grapheme clusters whole is preferred.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from ignition_ext.channels.smpp.alphabets import ESC
from ignition_ext.channels.smpp.encoding import Alphabet, Encoder, encoders, look_alikes
from ignition_ext.channels.smpp.graphemes import clusters, is_boundary

MOST_PARTS = 255
"""The part count is one octet of the header."""

DEFAULT_MAX_PARTS = 10
"""A text of more than 1,530 characters is a template gone wrong more often than a message; many
carriers refuse beyond 8 to 10 parts, and each part is paid for."""

_ESCAPE = ord(ESC)
_HIGH_SURROGATE = 0xD8


class TextRefused(ValueError):
    """A text that must not or cannot be sent as SMS; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """A text, ready for the wire.

    Attributes:
        encoding: ``gsm7``, ``latin1``, ``ucs2`` or a national alphabet's name.
        data_coding: SMPP 3.4 section 5.2.19.
        parts: each part's ``short_message``, user data header included.
        texts: each part's text; joined they are the whole.
        units: septets, octets or UCS-2 code units of the whole text.
        unit_limit: units that one part holds, header already taken off.
        has_header: whether the parts begin with a user data header (``esm_class`` bit 0x40).
    """

    encoding: str
    data_coding: int
    parts: tuple[bytes, ...]
    texts: tuple[str, ...]
    units: int
    unit_limit: int
    has_header: bool


def segment(
    text: str,
    *,
    alphabet: Alphabet | str = Alphabet.GSM7,
    reference: int = 0,
    wide_reference: bool = False,
    max_parts: int = DEFAULT_MAX_PARTS,
    replace_typography: bool = False,
) -> Segmented:
    """Encode ``text`` and cut it into parts.

    Args:
        text: what the handset shall show.
        alphabet: what the SMSC takes besides UCS-2.
        reference: ties the parts together; 0–255, or 0–65535 with ``wide_reference``.
        wide_reference: a 16-bit reference (element 0x08), at one unit less a part.
        max_parts: the most parts allowed, up to 255.
        replace_typography: write “ ” – … and no-break spaces with GSM look-alikes, if the whole
            text then is GSM-7. Off, what arrives equals ``text``.

    Raises:
        TextRefused: a raw escape or half a surrogate pair in the text, or too many parts.
    """
    _refuse_unwritable(text)
    if replace_typography:
        text = look_alikes(text)
    encoder = next(way for way in encoders(Alphabet(alphabet)) if way.fits(text))
    octets = encoder.encode(text)
    units = encoder.units_of(octets)
    alone = encoder.capacity(_header_length(encoder.shifts))
    if units <= alone:
        header = _header(encoder.shifts)
        return Segmented(
            encoding=encoder.name,
            data_coding=encoder.data_coding,
            parts=(header + octets,),
            texts=(text,),
            units=units,
            unit_limit=alone,
            has_header=bool(header),
        )
    concatenation = len(_concatenation(reference, 0, 0, wide_reference))
    limit = encoder.capacity(1 + concatenation + len(encoder.shifts))
    texts = _cut(text, octets, encoder, limit)
    most = min(max_parts, MOST_PARTS)
    if len(texts) > most:
        raise TextRefused(
            f"The text needs {len(texts)} parts of {limit} {encoder.name} units each; "
            f"at most {most} are allowed. Shorten it or allow more parts."
        )
    parts = tuple(
        _header(_concatenation(reference, len(texts), number, wide_reference) + encoder.shifts)
        + encoder.encode(part)
        for number, part in enumerate(texts, start=1)
    )
    return Segmented(
        encoding=encoder.name,
        data_coding=encoder.data_coding,
        parts=parts,
        texts=texts,
        units=units,
        unit_limit=limit,
        has_header=True,
    )


def _refuse_unwritable(text: str) -> None:
    if ESC in text:
        # In GSM-7 it would swallow or change the next character on the handset.
        raise TextRefused(f"The text has an escape character at position {text.index(ESC)}.")
    if text.isascii():
        return
    try:
        text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise TextRefused(
            f"The text has half a surrogate pair at position {error.start}."
        ) from error


def _header_length(elements: bytes) -> int:
    return 1 + len(elements) if elements else 0


def _header(elements: bytes) -> bytes:
    return bytes((len(elements),)) + elements if elements else b""


def _concatenation(reference: int, total: int, number: int, wide: bool) -> bytes:
    if wide:
        return bytes((0x08, 4)) + (reference & 0xFFFF).to_bytes(2, "big") + bytes((total, number))
    return bytes((0x00, 3, reference & 0xFF, total, number))


def _cut(text: str, octets: bytes, encoder: Encoder, limit: int) -> tuple[str, ...]:
    fewest = _filled(text, octets, encoder, limit)
    ends = accumulate(map(len, fewest[:-1]))
    if all(is_boundary(text, end) for end in ends):
        return fewest
    whole = _fill(clusters(text), encoder, limit)
    return whole if len(whole) == len(fewest) else fewest


def _filled(text: str, octets: bytes, encoder: Encoder, limit: int) -> tuple[str, ...]:
    """Parts as full as can be, found in the encoded text."""
    width = 2 if encoder.unit_bits == 16 else 1
    parts: list[str] = []
    start = position = 0
    while start < len(octets):
        end = start + limit * width
        last = octets[end - width] if end < len(octets) else 0
        if (last == _ESCAPE and width == 1) or (last & 0xFC == _HIGH_SURROGATE and width == 2):
            end -= width
        piece = octets[start:end]
        if width * len(text) == len(octets):
            length = len(piece) // width
        elif width == 2:
            length = len(piece.decode(encoder.codec))
        else:
            length = len(piece) - piece.count(_ESCAPE)
        parts.append(text[position : position + length])
        start, position = end, position + length
    return tuple(parts)


def _fill(pieces: Iterable[str], encoder: Encoder, limit: int) -> tuple[str, ...]:
    """Put pieces into parts, in order; a piece larger than a part is cut by code points."""
    parts: list[str] = []
    held: list[str] = []
    room = limit
    for piece in pieces:
        cost = encoder.units(piece)
        for atom in piece if cost > limit else (piece,):
            cost = encoder.units(atom)
            if cost > room:
                parts.append("".join(held))
                held, room = [], limit
            held.append(atom)
            room -= cost
    parts.append("".join(held))
    return tuple(parts)
