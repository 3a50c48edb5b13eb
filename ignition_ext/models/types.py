"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Integer, String, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Dialect


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC: ``timestamptz`` on PostgreSQL, ISO text in UTC on SQLite.

    SQLite's text is ``YYYY-MM-DD HH:MM:SS.ffffff``, so that comparing text compares times.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; times in the database are UTC.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json: Any = JSON().with_variant(JSONB(), "postgresql")
"""A JSON document: ``jsonb`` on PostgreSQL, text on SQLite."""

UuidList: Any = JSON().with_variant(ARRAY(Uuid), "postgresql")
"""Some keys: ``uuid[]`` on PostgreSQL, on SQLite a JSON list of them without hyphens."""

BigId: Any = BigInteger().with_variant(Integer(), "sqlite")
"""A generated 64-bit key (SQLite generates only for a column declared INTEGER)."""


def enum_check(column: str, values: type[StrEnum]) -> str:
    """The text of a CHECK constraint that admits just the members of an enumeration."""
    allowed = ", ".join(f"'{member.value}'" for member in values)
    return f"{column} IN ({allowed})"


def text(length: int) -> String:
    """Bounded text: PostgreSQL refuses what is longer."""
    return String(length)


def utc_now() -> datetime:
    """The node's clock, for rows where order does not decide anything (never for leases)."""
    return datetime.now(UTC)
