"""Mails that ask to unsubscribe: what List-Unsubscribe's mailbox gets (RFC 2369 section 3.2).

We wrote the subject, ``unsubscribe <token>``; it comes back as mail programs and providers made it:
folded, in the middle of the token as well, as encoded words, in capitals, with a prefix or a tag of
a gateway around it. Whether a token is one of ours is not asked here.
"""

from __future__ import annotations

import re
from email.message import Message

from ignition_ext.channels.reports.fields import words

SUBJECT_LIMIT = 4000
"""Characters of the subject that are looked at: the token of the longest address has 570, in
encoded words three times as many."""
SHORTEST_TOKEN = 50
"""Characters; one about an address of three has more."""
MAX_PIECES = 24
"""Pieces that a token may have been folded into, of 30 characters or more each."""
_ASKED = re.compile(r"\bunsubscribe\b[\s:;,<\"'=+]{0,9}", re.IGNORECASE | re.ASCII)
_ONLY = re.compile(r"(?:(?:re|aw|fwd?|wg|tr|sv|rv)\s?:\s?){0,3}unsubscribe\W{0,9}", re.IGNORECASE)
_STARTS = re.compile(r"\s*unsubscribe\b", re.IGNORECASE)
_PIECE = re.compile(r"[A-Za-z0-9_-]+")


def leaving_tokens(message: Message) -> tuple[str, ...]:
    """What may be the token of a mail that asks to unsubscribe, the likeliest first."""
    subject = words(message, "Subject", limit=SUBJECT_LIMIT)
    found: dict[str, None] = {}
    if (asked := _ASKED.search(subject)) is not None:
        joined = ""
        for word in subject[asked.end() :].split(maxsplit=MAX_PIECES)[:MAX_PIECES]:
            piece = _PIECE.match(word)
            if piece is None:
                break
            joined += piece[0]
            if len(joined) >= SHORTEST_TOKEN:
                found[joined] = None
            if piece[0] != word:
                break  # a sign that no token has: it ends here
    return tuple(found)


def asks_to_leave(message: Message) -> bool:
    """Whether the subject says nothing else, and no token."""
    return bool(_ONLY.fullmatch(words(message, "Subject")))


def is_as_we_wrote_it(message: Message) -> bool:
    """Whether nothing stands before the word: no answer, and no machine's report about it."""
    return bool(_STARTS.match(words(message, "Subject")))
