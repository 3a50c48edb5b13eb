"""Text parts as bytes: 7bit, quoted-printable or base64 (RFC 2045 section 6), whichever is least.

A rendered text comes in pieces: the template's own words, the same for every recipient, and the
recipient's values between them. Quoted-printable of a piece depends on nothing but the column that
it begins in, so that each piece is encoded once for each column and is then only put in its place.
The result is what encoding the whole text gives, byte for byte.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence

from ignition_ext.templates.mime_headers import MAX_LINE, WIDTH

_KEPT_OCTETS = 8 * 1024 * 1024
"""Encoded pieces that are kept for one run; then all are forgotten and learned again. A template
with 20 kB of its own text in ten languages takes a tenth of it, the rest are values."""

_NOTED = 16_384
"""Pieces seen once, of which only the hash is noted: values of some thousand messages."""

_KEPT_PIECE = 65_536
"""A longer piece is a value from outside or a page that a machine made."""

_ENTRY_OCTETS = 300
"""What Python needs for keeping a piece, beside the piece."""

_END = b"x\r\n"
"""Stands behind a piece while it is encoded: white space and dots at a line's end are special."""

_TOO_LONG = re.compile(rb"^([^\r\n]{74})(=(?:20|09)\r\n)", re.MULTILINE)
"""White space before a line break, which Python's C code writes as =20 without looking how long
the line already is."""

_LOOSE = (" ", "\t", ".")
"""A piece that ends so is written differently when a line break follows."""


class TextError(ValueError):
    """The text cannot stand in a message."""


_Piece = tuple[bytes, int, int, bool, bool]
"""A piece as it is written from one column on: its octets, the column behind it, how many octets
it had, whether a line break begins it, whether it is loose. No class: most are made for once."""


class TextEncoder:
    """Encodes the text parts of one run's messages."""

    def __init__(self) -> None:
        self._by_column: list[dict[str, _Piece]] = [{} for _ in range(WIDTH)]
        self._kept = 0
        self._once: set[int] = set()

    def part(self, kind: str, pieces: Sequence[str]) -> tuple[bytes, bytes]:
        """Header fields, empty line included, and body of a part; CRLF at its end.

        Args:
            kind: ``plain`` or ``html``.
            pieces: the text; joined they are the whole.

        Raises:
            UnicodeEncodeError: a lone surrogate is in it.
            TextError: a NUL is in it, which RFC 5322 section 2.3 forbids in any form.
        """
        if not all(map(str.isascii, pieces)) and len(pieces) > 1:
            spliced = self._spliced(pieces)
            if spliced is not None:
                octets, body = spliced
                if len(body) <= _base64_length(octets):
                    return _head(kind, "utf-8", "quoted-printable"), body
        return _whole(kind, "".join(pieces))

    def _spliced(self, pieces: Sequence[str]) -> tuple[int, bytes] | None:
        """How many octets the text has, and its quoted-printable; None where pieces depend."""
        by_column = self._by_column
        written: list[bytes] = []
        column = total = 0
        was_loose, piece = False, ""
        for piece in filter(None, pieces):
            known = by_column[column].get(piece)
            if known is None:
                known = self._learn(piece, column)
                if known is None:
                    return None
            encoded, column, octets, breaks, loose = known
            if breaks and was_loose:
                return None
            was_loose = loose
            total += octets
            written.append(encoded)
        if not piece.endswith("\n"):
            if was_loose:
                return None
            written.append(b"\r\n")
            total += 2
        return total, b"".join(written)

    def _learn(self, piece: str, column: int) -> _Piece | None:
        learned = _plain(piece, column)
        if learned is None:
            if "\r" in piece or "\0" in piece:
                return None
            learned = _encoded(piece, column)
        mark = hash(piece)
        if mark not in self._once:
            # A value, most likely, which does not come again; or the first message.
            if len(self._once) >= _NOTED:
                self._once.clear()
            self._once.add(mark)
        elif len(piece) <= _KEPT_PIECE:
            self._kept += learned[2] + len(learned[0]) + _ENTRY_OCTETS
            if self._kept > _KEPT_OCTETS:
                self._forget()
            self._by_column[column][piece] = learned
        return learned

    def _forget(self) -> None:
        self._kept = 0
        for pieces in self._by_column:
            pieces.clear()


def _plain(piece: str, column: int) -> _Piece | None:
    """A short piece that needs no encoding and fits into the line."""
    after = column + len(piece)
    if after < WIDTH and piece.isascii() and piece.isprintable() and "=" not in piece:
        return piece.encode(), after, len(piece), False, piece.endswith(_LOOSE)
    return None


def _encoded(piece: str, column: int) -> _Piece:
    octets = piece.replace("\n", "\r\n").encode()
    encoded = quoted_printable(b"x" * column + octets + _END)[column : -len(_END)]
    if encoded.endswith(b"=\r\n"):
        # A line that is full is only ended when something follows: here it was the end mark.
        encoded = encoded[:-3]
    line = encoded.rfind(b"\n") + 1
    after = len(encoded) - line + (0 if line else column)
    return encoded, after, len(octets), piece[0] == "\n", piece.endswith(_LOOSE)


def _whole(kind: str, text: str) -> tuple[bytes, bytes]:
    if "\0" in text:
        raise TextError(f"the {kind} text holds a NUL, which no message may have")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if lines[-1]:
        lines.append("")
    octets = "\r\n".join(lines).encode() or b"\r\n"
    # Two octets a line are its CRLF, which MAX_LINE leaves out.
    if text.isascii() and max(map(len, lines)) <= MAX_LINE:
        return _head(kind, "us-ascii", "7bit"), octets
    body = quoted_printable(octets)
    if _base64_length(len(octets)) < len(body):
        return _head(kind, "utf-8", "base64"), base64_lines(octets)
    return _head(kind, "utf-8", "quoted-printable"), body


def _head(kind: str, charset: str, encoding: str) -> bytes:
    return (
        f'Content-Type: text/{kind}; charset="{charset}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode()


def quoted_printable(octets: bytes) -> bytes:
    """Quoted-printable of text with CRLF line ends (RFC 2045 section 6.7), lines of 76 at most."""
    encoded = binascii.b2a_qp(octets, istext=True)
    if b" \r\n" in octets or b"\t\r\n" in octets:
        return _TOO_LONG.sub(rb"\1=\r\n\2", encoded)
    return encoded


def _base64_length(octets: int) -> int:
    characters = (octets + 2) // 3 * 4
    return characters + 2 * -(-characters // WIDTH)


def base64_lines(content: bytes) -> bytes:
    """Base64 in lines of 76 (RFC 2045 section 6.8), CRLF between them and at the end."""
    encoded = binascii.b2a_base64(content, newline=False)
    lines = [encoded[start : start + WIDTH] for start in range(0, len(encoded), WIDTH)]
    return b"\r\n".join(lines) + b"\r\n"
