"""Finds the links in plain text as mail programs do that make them clickable; pure.

No standard says where a link in a text ends. Found are those of which mail programs agree where
they do; one that is in doubt is left alone, for an untracked link harms nobody and one that is cut
leads nowhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SCHEMES = ("https", "http")
_REST = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
"""The characters of RFC 3986, section 2."""
_INNER = re.compile(r"[A-Za-z0-9+.\-@=&%/]")
"""Before a link they make it a part of another: webcal+https://, mailto:a@b.example?body=https://"""
_SENTENCE = ".,;:!?'"
"""Signs that end a sentence rather than a link."""
_EMPHASIS = "*_~"
"""Signs of which some programs, not all, see that they stand around a link."""
_UNSURE = "\\^`{|}"
"""Signs that some programs take into a link and others do not."""
_BRACKET = re.compile(r"[()\[\]]")
_OPENERS = {")": "(", "]": "["}


def web_links(text: str) -> Iterator[tuple[int, int]]:
    """Where the links to the web begin and end, in order; those in doubt are left out."""
    at = 0
    while (mark := text.find("://", at)) >= 0:
        start, at = _begin(text, mark), mark + 3
        rest = None if start is None else _REST.match(text, at)
        if start is None or rest is None:
            continue
        at = rest.end()
        url, before, after = text[start:at], text[start - 1 : start], text[at : at + 1]
        if before == "<":
            # RFC 3986, appendix C: it ends at the bracket, and may go on in the next line.
            if after == ">":
                yield start, at
            continue
        whole = _closed(url)
        if 0 < whole < len(url):
            at = start + whole  # another link may begin behind the bracket
        elif _goes_on(after) or (before and before in _EMPHASIS and url.endswith(before)):
            continue
        if whole:
            yield start, start + len(url[:whole].rstrip(_SENTENCE))


def _begin(text: str, mark: int) -> int | None:
    """Where the scheme of the web begins that ends at the mark; None where none does."""
    tail = text[max(mark - 5, 0) : mark].lower()
    length = next((len(scheme) for scheme in _SCHEMES if tail.endswith(scheme)), 0)
    start = mark - length
    if not length or _INNER.match(text[start - 1 : start] if start else ""):
        return None
    return start


def _goes_on(after: str) -> bool:
    """Whether a link may go on with a sign that RFC 3986 does not know."""
    if not after or after in " \t\r\n":
        return False
    if after.isascii():
        return after in _UNSURE
    return unicodedata.category(after)[0] not in "PZ"


def _closed(url: str) -> int:
    """How many characters stand before a bracket that closes none of the link's own.

    Returns 0 where one of its own stays open.
    """
    open_ones: list[str] = []
    for bracket in _BRACKET.finditer(url):
        opener = _OPENERS.get(bracket[0])
        if opener is None:
            open_ones.append(bracket[0])
        elif not open_ones or open_ones.pop() != opener:
            return bracket.start()
    return 0 if open_ones else len(url)
