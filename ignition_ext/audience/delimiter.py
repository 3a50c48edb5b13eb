"""Which character separates a file's fields.

``csv.Sniffer`` looks at letter counts and is led astray by names and amounts. Here each candidate
reads the header and some records; the one whose header holds an address column, and whose records
are as wide as the header, wins.
"""

from __future__ import annotations

import io
import re
from itertools import islice

from ignition_ext.audience.columns import known_column
from ignition_ext.audience.records import Lines, read_records

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_CHARACTERS = 65_536
SAMPLE_RECORDS = 50
"""Records compared with the header: a few bad ones among them do not matter."""
_DECLARED = re.compile(r'"?sep=(.)"?[;,]*(?:\r\n|\r|\n)')


def declared_delimiter(text: str) -> str | None:
    """The delimiter of a first line ``sep=;``, which spreadsheets write and read."""
    match = _DECLARED.match(text)
    return match[1] if match and match[1] in DELIMITERS else None


def _score(text: str, delimiter: str) -> tuple[bool, float, int]:
    """Whether the header names an address, the share of records as wide as it, its width."""
    records = islice(read_records(Lines(io.StringIO(text, newline="")), delimiter), SAMPLE_RECORDS)
    good = [record.fields for record in records if not record.problem]
    if not good:
        return False, 0.0, 0
    header, *rows = good
    named = any(known_column(name) in ("email", "phone") for name in header)
    if len(header) == 1:
        # A single column is as wide as everything: it wins only where nothing else fits.
        return named, 0.0, 1
    fitting = sum(len(row) == len(header) for row in rows) / len(rows) if rows else 1.0
    return named, round(fitting, 1), len(header)


def find_delimiter(text: str) -> str:
    """The delimiter of a file that begins with ``text``; a comma for a single column."""
    text = text[:SAMPLE_CHARACTERS]
    return declared_delimiter(text) or max(DELIMITERS, key=lambda sign: _score(text, sign))
