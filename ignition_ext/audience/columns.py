"""The header of a source: which column is the address, which the number.

Columns that Ignition knows are found under several spellings, whatever their case and however
words are joined (``E-Mail``, ``e_mail``, ``email address``); all others keep their name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ignition_ext.errors import AudienceError

ALIASES: dict[str, tuple[str, ...]] = {
    "email": ("email", "mail", "emailaddress", "mailaddress"),
    "phone": ("phone", "mobile", "msisdn", "phonenumber", "mobilenumber", "mobilephone", "cell"),
    "locale": ("locale", "language", "lang"),
    "timezone": ("timezone", "tz"),
    "country": ("country", "countrycode"),
    "external_id": ("externalid",),
}
"""Ignition's name of a column, and the spellings (without case, spaces, ``-``, ``_``)."""

MAX_COLUMNS = 500
"""Every column is stored with every message; spreadsheets with more have lost their separator."""
MAX_COLUMN_NAME = 100
"""Longer names are sentences: the file has no header, or a preamble before it."""

_KNOWN = {spelling: name for name, spellings in ALIASES.items() for spelling in spellings}
_JOINTS = re.compile(r"[\s_\-.]+")
_FORBIDDEN = re.compile(r'["\\\x00-\x1f\x7f]')
HEADER_MEND = "Give the first line one name for each column, each once, and email or phone."


def known_column(name: str) -> str | None:
    """Ignition's name for a column, None for a column of the operator's own."""
    return _KNOWN.get(_JOINTS.sub("", name.strip()).lower())


def read_header(names: Sequence[str], *, path: str, line: int = 0) -> tuple[str, ...]:
    """The columns' names as templates see them.

    Raises:
        AudienceError: a name is empty, doubled, too long or cannot be quoted, or there is neither
            an email nor a phone column.
    """

    def refuse(message: str) -> AudienceError:
        return AudienceError(message, path=path, line=line, mend=HEADER_MEND)

    columns: list[str] = []
    seen: dict[str, str] = {}
    if len(names) > MAX_COLUMNS:
        raise refuse(f"the header has {len(names)} columns, more than {MAX_COLUMNS}.")
    for position, written in enumerate(names, start=1):
        name = written.strip()
        if not name:
            raise refuse(f"column {position} of the header has no name.")
        if len(name) > MAX_COLUMN_NAME:
            raise refuse(f"the name of column {position} has more than {MAX_COLUMN_NAME} letters.")
        if _FORBIDDEN.search(name):
            raise refuse(f"the name of column {position}, {name!r}, holds a quote or control sign.")
        column = known_column(name) or name
        if column.lower() in seen:
            raise refuse(
                f"columns {seen[column.lower()]!r} and {name!r} of the header are both {column!r}."
            )
        seen[column.lower()] = name
        columns.append(column)
    if not {"email", "phone"} & set(columns):
        raise refuse(f"there is no email or phone column; found: {', '.join(columns)}.")
    return tuple(columns)
