"""Which addresses a file has already given, in constant memory.

SQLite keeps a private temporary database on disk, with a cache of a few megabytes in front.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ignition_ext.values import Recipient

CACHE_KIB = 16_384
"""Enough for the index of some 300,000 addresses; beyond it, SQLite pages to a file."""


class SeenAddresses:
    """Pairs of address and number met so far. Close it when done; use from one thread at a time."""

    def __init__(self) -> None:
        # The empty name is a temporary file that SQLite deletes itself.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE seen (email TEXT, phone TEXT, PRIMARY KEY (email, phone)) WITHOUT ROWID"
        )

    def new_ones(self, recipients: Sequence[Recipient]) -> list[Recipient]:
        """Those whose pair of addresses was not met before, also not earlier in this batch."""
        add = self._database.execute
        self._database.execute("BEGIN")
        fresh = [
            recipient
            for recipient in recipients
            if add(
                "INSERT INTO seen VALUES (?, ?) ON CONFLICT DO NOTHING",
                (recipient.email or "", recipient.phone or ""),
            ).rowcount
        ]
        self._database.execute("COMMIT")
        return fresh

    def close(self) -> None:
        """Delete the temporary database."""
        self._database.close()
