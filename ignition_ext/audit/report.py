"""What a verification found, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """What is wrong with a chain."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    RECOMPUTED = "recomputed"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    HEAD = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong; ``seq`` is the first row concerned."""

    tenant: str
    seq: int
    kind: FindingKind
    text: str

    def __str__(self) -> str:
        return f"tenant {self.tenant!r}, audit row {self.seq}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """One tenant's chain: how far it holds, and what is wrong, the first row first."""

    tenant: str
    tenant_id: int
    rows: int
    seq: int
    hash: str
    findings: tuple[Finding, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.findings
