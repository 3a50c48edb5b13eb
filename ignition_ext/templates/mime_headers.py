"""Header fields as bytes: RFC 5322 lines, RFC 2047 words, RFC 2231 parameters; pure.

Written out instead of left to the standard library, whose folding loses or splits long words
(and differently in 3.11 and 3.12), and which takes nine tenths of a sender's time.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import idna

# RFC 5322 section 2.1.1: must, without CRLF; and the width that lines should keep to.
MAX_LINE = 998
WIDTH = 76
# RFC 2047 section 2: 75 characters a word, in groups of four beside "=?utf-8?B?" and "?=", and 76
# a line that holds one; no character has more than four octets.
_WORD_BYTES = 45
_AROUND_WORD = 12
_CHARACTER_BYTES = 4

FIELD_NAME = re.compile(r"[!-9;-~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# Words that need no encoding: single blanks between them, nothing that looks encoded already.
_PLAIN_TEXT = re.compile(r"[!-~]{1,60}(?: [!-~]{1,60})*")
_ADDRESS = re.compile(r"\s*(?P<name>.*?)\s*<(?P<address>[^<>]*)>\s*", re.DOTALL)
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010ffff-]"
_DOT_ATOM = re.compile(rf"{_LOCAL}+(?:\.{_LOCAL}+)*")
# What the library gives back as it is: lower case, no label with "--" where IDNA has its prefix.
_PLAIN_LABEL = r"(?!-|..--)[a-z0-9-]{1,63}(?<!-)"
_PLAIN_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    rf"@(?=.{{1,253}}\Z){_PLAIN_LABEL}(?:\.{_PLAIN_LABEL})*"
)
_FORMATS = re.compile(r"[\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\udfff\ufeff]")


class HeaderError(ValueError):
    """A value cannot be said in a header without saying something else."""


def checked(value: str, what: str) -> str:
    """The value itself, if no line break, other control character or lone surrogate is in it.

    Raises:
        HeaderError: it would end the header and begin another one.
    """
    if value.isascii() and value.isprintable():
        return value
    found = _CONTROL.search(value)
    if found is not None:
        kind = "a line break" if found[0] in "\r\n" else f"the control character {found[0]!r}"
        raise HeaderError(f"{what} holds {kind}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise HeaderError(f"{what} holds half of a character (a lone surrogate)") from None
    return value


def address_of(value: str, what: str) -> tuple[str, str]:
    """Name and address of ``Acme <a@example.com>``, ``"Acme, Inc." <a@…>`` or ``a@…``.

    The domain comes back in its IDNA form, so that every server understands it.

    Raises:
        HeaderError: there is no single well-formed address in it.
    """
    checked(value, what)
    match = _ADDRESS.fullmatch(value)
    name, address = (match["name"], match["address"]) if match else ("", value.strip())
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, normal_address(address, what)


def normal_address(address: str, what: str) -> str:
    """The address with its domain in IDNA form (RFC 5890, mapped as in UTS 46).

    Raises:
        HeaderError: it is none.
    """
    if _PLAIN_ADDRESS.fullmatch(address):
        return address
    checked(address, what)
    local, at, domain = address.rpartition("@")
    if not at or not _DOT_ATOM.fullmatch(local) or _FORMATS.search(local):
        raise HeaderError(f"{what}: {address!r} is not an email address")
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        raise HeaderError(f"{what}: the domain of {address!r} is not valid") from None
    return f"{local}@{ascii_domain}"


def encoded_words(text: str, lead: int = 1) -> Iterator[str]:
    """RFC 2047 words, none longer than 75 and none that splits a character.

    Args:
        text: what they say.
        lead: characters of the line in front of the first word.
    """
    room = (WIDTH - lead - _AROUND_WORD) // 4 * 3
    room = max(min(room, _WORD_BYTES), _CHARACTER_BYTES)
    octets = text.encode()
    start = 0
    while start < len(octets):
        end = start + room
        # Not in front of the second or a later octet of a character.
        while end < len(octets) and octets[end] & 0xC0 == 0x80:
            end -= 1
        encoded = binascii.b2a_base64(octets[start:end], newline=False)
        yield f"=?utf-8?B?{encoded.decode()}?="
        start, room = end, _WORD_BYTES


def _folded(name: str, words: list[str]) -> bytes:
    lines, line = [], f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > WIDTH and line.strip() and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    folded = "\r\n".join(lines).encode()
    if len(folded) > MAX_LINE and max(map(len, folded.split(b"\r\n"))) > MAX_LINE:
        raise HeaderError(f"{name} holds a word that does not fit into a line of {MAX_LINE} octets")
    return folded + b"\r\n"


def text_field(name: str, value: str) -> bytes:
    """A field of free text, such as Subject."""
    checked(value, name)
    if _PLAIN_TEXT.fullmatch(value) and "=?" not in value:
        return _folded(name, value.split(" "))
    return _folded(name, list(encoded_words(value, lead=len(name) + 2)))


def token_field(name: str, value: str) -> bytes:
    """A field with a syntax of its own (List-Unsubscribe, References …): folded, never encoded.

    Raises:
        HeaderError: it holds what would have to be encoded.
    """
    checked(value, name)
    if not value.isascii():
        raise HeaderError(f"{name} may hold ASCII only, not {value!r}")
    return _folded(name, value.split())


def phrase(name: str, lead: int = 1) -> list[str]:
    """A display name as words: plain, quoted or encoded, whichever is enough.

    Args:
        name: the display name.
        lead: characters of the line in front of it.
    """
    if not name:
        return []
    if "=?" not in name and len(name) <= WIDTH - 4:
        if _ATOMS.fullmatch(name):
            return name.split(" ")
        if name.isascii() and "\t" not in name:
            quoted = re.sub(r'(["\\])', r"\\\1", name)
            return [f'"{quoted}"']
    return list(encoded_words(name, lead))


def address_field(field: str, mailboxes: list[tuple[str, str]]) -> bytes:
    """A field of mailboxes, each a name and an address; the address is never encoded."""
    words: list[str] = []
    for number, (name, address) in enumerate(mailboxes):
        checked(name, f"the name in {field}")
        comma = "," if number < len(mailboxes) - 1 else ""
        mailbox = f"<{address}>" if name else address
        words += [*phrase(name, 1 if words else len(field) + 2), f"{mailbox}{comma}"]
    return _folded(field, words)


def parameter(name: str, value: str) -> list[str]:
    """A MIME parameter, quoted when ASCII and short, else in the pieces of RFC 2231."""
    if (
        value.isascii()
        and len(value) <= WIDTH - len(name) - 6
        and not re.search(r'["\\\s]{2}|["\\]', value)
    ):
        return [f'{name}="{value}"']
    encoded = quote(value, safe="")
    room = WIDTH - len(name) - 16
    pieces, piece = [], ""
    for unit in (quote(character, safe="") for character in value):
        if len(piece) + len(unit) > room:
            pieces.append(piece)
            piece = ""
        piece += unit
    pieces.append(piece)
    if len(pieces) == 1:
        return [f"{name}*=utf-8''{encoded}"]
    first, *others = pieces
    return [
        f"{name}*0*=utf-8''{first}",
        *(f"{name}*{number}*={piece}" for number, piece in enumerate(others, 1)),
    ]


def mime_field(name: str, value: str, parameters: Mapping[str, str]) -> bytes:
    """``Content-Type: text/html; charset="utf-8"`` with one parameter a line where long."""
    words = [value]
    for key, parameter_value in parameters.items():
        words += parameter(key, checked(parameter_value, f"{key} of {name}"))
    return _folded(name, [f"{word};" for word in words[:-1]] + words[-1:])
