"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check went; a hint is no failure."""

    OK = "ok"
    HINT = "hint"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; ``mend`` says what to do about it."""

    name: str
    verdict: Verdict
    detail: str
    mend: str = ""


def passed(name: str, detail: str) -> Check:
    """A check that found nothing wrong."""
    return Check(name=name, verdict=Verdict.OK, detail=detail)


def hint(name: str, detail: str, mend: str) -> Check:
    """Something that is worth knowing and need not be mended."""
    return Check(name=name, verdict=Verdict.HINT, detail=detail, mend=mend)


def failed(name: str, detail: str, mend: str) -> Check:
    """Something that has to be mended."""
    return Check(name=name, verdict=Verdict.FAILED, detail=detail, mend=mend)
