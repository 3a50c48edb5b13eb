"""Header fields of mails that nobody vouches for: always text, bounded, without control signs."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from itertools import islice

MAX_FIELD = 1000
"""Characters of a field that are looked at: reasons of servers are shorter, attacks are longer."""
MAX_VALUES = 50
"""Fields of one name in a mail, and parts, that are looked at; real reports have a handful."""
_ADDRESS = re.compile(r"[^\s<>\"(),;\[\]\\]{1,255}@[^\s<>\"(),;@]{1,255}")
_CONTROLS = re.compile(r"[\x00-\x20\x7f]+")


def field(message: Message, name: str, *, limit: int = MAX_FIELD) -> str:
    """A field on one line; empty where there is none."""
    return next(iter(all_fields(message, name, limit=limit)), "")


def all_fields(message: Message, name: str, *, limit: int = MAX_FIELD) -> list[str]:
    """All fields of that name, each on one line."""
    wanted = name.lower()
    # Not get_all: it makes a question mark of each octet that is not ASCII.
    found = (value for key, value in message.raw_items() if key.lower() == wanted)
    return [one_line(value, limit=limit) for value in islice(found, MAX_VALUES)]


def words(message: Message, name: str, *, limit: int = MAX_FIELD) -> str:
    """A field that people read, its encoded words decoded (RFC 2047)."""
    text = field(message, name, limit=limit)
    if "=?" not in text:
        return text
    try:
        return one_line(make_header(decode_header(text)), limit=limit)
    except (HeaderParseError, LookupError, ValueError):
        return text


def one_line(value: object, *, limit: int = MAX_FIELD) -> str:
    """Text without line breaks and control signs, cut to what a field may hold."""
    text = str(value)[: 2 * limit]
    if not text.isascii():
        text = _whole(text)
    return _CONTROLS.sub(" ", text).strip()[:limit]


def _whole(text: str) -> str:
    """Text whose octets beyond ASCII came as half characters, read as UTF-8 where it is that."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "replace")
    return raw.decode("utf-8", "replace")


def addresses(message: Message, name: str) -> list[str]:
    """The bare addresses of a field, also of those that break the grammar."""
    found: list[str] = []
    for text in all_fields(message, name):
        parsed = [address for _, address in getaddresses([text])]
        found += [address for address in parsed if _ADDRESS.fullmatch(address)] or in_text(text)
    return found


def in_text(text: str) -> list[str]:
    """The bare addresses in a text."""
    return [match.strip(".:'") for match in _ADDRESS.findall(text[:MAX_FIELD])]


def typed(text: str) -> str:
    """The value of ``rfc822; jo@example.com``; the whole where no type stands before it.

    Some servers put angle brackets or comments around it.
    """
    _, semicolon, value = text.partition(";")
    value = (value if semicolon else text).strip()
    found = in_text(value)
    return found[0] if found else value
