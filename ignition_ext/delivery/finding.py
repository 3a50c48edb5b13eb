"""What pre-flight has to say to whoever sends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding does to a run."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that whoever sends should know."""

    severity: Severity
    text: str
    mend: str = ""
