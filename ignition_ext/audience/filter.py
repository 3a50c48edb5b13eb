"""``where`` over rows that stand in no database: each batch passes through SQLite in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from ignition_ext.audience.where import compile_where
from ignition_ext.audience.where_dialects import SqliteSpelling, register_functions
from ignition_ext.values import Recipient


class RowFilter:
    """Keeps the recipients for which a condition is true. Use from one thread at a time.

    Raises:
        AudienceError: the condition is not allowed or names an unknown column.
    """

    def __init__(self, where: str, columns: Sequence[str]) -> None:
        condition = compile_where(
            where, columns, SqliteSpelling(), lambda _, path: f"json_extract(value, {path})"
        )
        where_true = condition.sql
        self._sql = f"SELECT key FROM json_each(:rows) WHERE {where_true} ORDER BY key"  # noqa: S608 - the compiler's own words, with parameters for every literal and name
        self._parameters = condition.parameters
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        register_functions(self._database.create_function)

    def matching(self, recipients: Sequence[Recipient]) -> list[Recipient]:
        """Those that the condition is true for, in order."""
        rows = json.dumps([dict(recipient.data) for recipient in recipients])
        found = self._database.execute(self._sql, {"rows": rows, **self._parameters})
        return [recipients[key] for (key,) in found]

    def close(self) -> None:
        """Free SQLite's memory."""
        self._database.close()
