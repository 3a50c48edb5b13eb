"""Where a text may be parted without parting what a reader sees as one character.

A light reading of UAX #29 that needs no tables beyond Python's: combining marks, joiners,
variation selectors, skin tones, regional pairs, tag sequences, CR LF. A boundary too many does no
harm, because a handset joins the parts again; parts are only cut there by preference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_JOINER = "\u200d"
_FIRST_JOINED = "\u0300"
_ENCLOSING = frozenset({"Mn", "Me", "Mc"})


def _extends(char: str) -> bool:
    if char < _FIRST_JOINED:
        return False
    return (
        char == _JOINER
        or "\ufe00" <= char <= "\ufe0f"
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
        or unicodedata.category(char) in _ENCLOSING
    )


def _is_regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def clusters(text: str) -> Iterator[str]:
    """The clusters of ``text`` in order; joined they are the text."""
    start, regionals = 0, 0
    for index, char in enumerate(text):
        joined = index > start and (
            _extends(char)
            or text[index - 1] == _JOINER
            or (char == "\n" and text[index - 1] == "\r")
            or (_is_regional(char) and regionals % 2 == 1)
        )
        if index > start and not joined:
            yield text[start:index]
            start, regionals = index, 0
        regionals = regionals + 1 if _is_regional(char) else 0
    if start < len(text):
        yield text[start:]


def is_boundary(text: str, index: int) -> bool:
    """Whether a cluster begins at ``index``; looks no further back than it has to."""
    char, before = text[index], text[index - 1]
    if char < _FIRST_JOINED:
        return before != _JOINER and not (char == "\n" and before == "\r")
    if _extends(char) or before == _JOINER:
        return False
    if not _is_regional(char):
        return True
    first = index
    while first and _is_regional(text[first - 1]):
        first -= 1
    return (index - first) % 2 == 0
