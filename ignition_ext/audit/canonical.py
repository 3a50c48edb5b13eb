"""The bytes that an audit hash and signature cover: the same on every database and machine.

Canonical JSON is UTF-8 without white space, keys sorted by code point, whole numbers without a
fraction, times as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``. A third party needs nothing else to check a
chain; docs/audit.md repeats it in words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from math import isfinite
from typing import Any

GENESIS = "0" * 64
"""What stands as ``previous_hash`` in the first row of a chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """The fields of one row that its hash covers."""

    tenant_id: int
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: Any
    after: Any
    previous_hash: str


def normalise(value: Any) -> Any:
    """The value as both databases give it back: JSON types only, whole floats as integers.

    ``jsonb`` keeps neither ``1e3`` nor ``\\u0000``, and refuses lone surrogates.
    """
    match value:
        case None | bool():
            return value
        case int() | float():
            return _number(value)
        case Enum():
            return normalise(value.value)
        case Mapping():
            return {normalise(str(key)): normalise(item) for key, item in value.items()}
        case list() | tuple():
            return [normalise(item) for item in value]
        case set() | frozenset():
            return sorted((normalise(item) for item in value), key=repr)
        case datetime() if value.tzinfo:
            return instant(value)
        case date():
            return value.isoformat()
        case timedelta():
            return _number(value.total_seconds())
        case _:
            return str(value).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _number(value: float) -> int | float | str:
    if isinstance(value, int):
        return int(value)
    if not isfinite(value):
        return str(value)
    return int(value) if value.is_integer() else float(value)


def instant(at: datetime) -> str:
    """The time in UTC to the microsecond; both databases keep just that."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical(document: Mapping[str, Any]) -> bytes:
    """Canonical JSON of a document of JSON types."""
    text = json.dumps(
        normalise(document),
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    return text.encode()


def row_hash(row: AuditRow) -> str:
    """SHA-256 over a row's canonical JSON, in hexadecimal."""
    document = {
        "v": 1,
        "tenant_id": row.tenant_id,
        "seq": row.seq,
        "at": instant(row.at),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "before": row.before,
        "after": row.after,
        "previous_hash": row.previous_hash,
    }
    return hashlib.sha256(canonical(document)).hexdigest()


def row_statement(digest: str) -> bytes:
    """What is signed for a row."""
    return f"ignition-audit-row:1:{digest}".encode()


def head_statement(*, tenant_id: int, seq: int, digest: str, signed_at: datetime) -> bytes:
    """What is signed for a head: that a tenant's chain had just these rows at that time."""
    return canonical(
        {
            "statement": "ignition-audit-head",
            "v": 1,
            "tenant_id": tenant_id,
            "seq": seq,
            "hash": digest,
            "signed_at": instant(signed_at),
        }
    )
