"""SMTP replies, from bytes to values (RFC 5321 section 4.2); pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

# RFC 5321 section 4.5.3.1.5 allows 512; real servers write longer lines. What is longer than
# this is not an SMTP server.
MAX_LINE = 8192
# Servers say a few things over and over; what is longer is mostly said once, with an id in it.
_KNOWN_LINES, _KNOWN_LENGTH = 256, 80
# The longest EHLO answers have some thirty lines; without an end a reply would fill memory.
MAX_LINES = 200

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|$)")


class MalformedReply(Exception):
    """The server wrote something that is not an SMTP reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply.

    Attributes:
        code: three digits.
        enhanced: RFC 3463 code such as ``5.1.1``; empty without one.
        text: all lines without the codes, joined by a blank.
    """

    code: int
    enhanced: str = ""
    text: str = ""

    @property
    def positive(self) -> bool:
        """2xx: done as asked."""
        return 200 <= self.code < 300

    @property
    def transient(self) -> bool:
        """4xx: perhaps later."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5xx: not like this."""
        return 500 <= self.code < 600

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def make_reply(code: int, lines: list[str]) -> Reply:
    """A reply from its code and the text of its lines; the enhanced code is cut off each."""
    enhanced, texts = "", []
    for line in lines:
        match = _ENHANCED.match(line)
        if match is not None and (not enhanced or match[1] == enhanced):
            enhanced = match[1]
            line = line[match.end() :]
        texts.append(line.strip())
    return Reply(code=code, enhanced=enhanced, text=" ".join(text for text in texts if text))


class ReplyParser:
    """Cuts what the server writes into replies, however the network cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = 0
        self._lines: list[str] = []

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that are complete with ``data``; those before a fault come out before it.

        Raises:
            MalformedReply: a line without a code, codes that change within a reply, a line or a
                reply without end.
        """
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            reply = self._line(line.removesuffix(b"\r"))
            if reply is not None:
                yield reply
        if len(self._rest) > MAX_LINE:
            raise MalformedReply(f"a line of more than {MAX_LINE} octets")

    def _line(self, line: bytes) -> Reply | None:
        if not self._lines and len(line) <= _KNOWN_LENGTH:
            known = _whole_reply(line)
            if known is not None:
                return known
        code, more, text = _parts(line)
        if self._lines and code != self._code:
            raise MalformedReply(f"{self._code} goes on as {_shown(line)}")
        self._code = code
        self._lines.append(text)
        if more:
            if len(self._lines) >= MAX_LINES:
                raise MalformedReply(f"a reply of more than {MAX_LINES} lines")
            return None
        reply, self._lines = make_reply(code, self._lines), []
        return reply


@lru_cache(maxsize=_KNOWN_LINES)
def _whole_reply(line: bytes) -> Reply | None:
    """The reply that this line is; None where more follows."""
    code, more, text = _parts(line)
    return None if more else make_reply(code, [text])


def _parts(line: bytes) -> tuple[int, bool, str]:
    match = _LINE.fullmatch(line)
    if match is None or len(line) > MAX_LINE:
        raise MalformedReply(_shown(line))
    return int(match[1]), match[2] == b"-", (match[3] or b"").decode("utf-8", "replace")


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("latin-1"))
