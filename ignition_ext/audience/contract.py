"""What the audience's parts hand each other: specs, sources, problems, results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ignition_ext.values import Recipient

BATCH_ROWS = 2000
"""Rows handled at once: enough to make a database round trip cheap, under 2 MB of memory."""


class AudienceSpec(Protocol):
    """Where recipients come from; exactly one of ``name``, ``csv`` and ``sql`` is set.

    A campaign file's ``audience:`` fulfils it.
    """

    @property
    def name(self) -> str | None:
        """A stored audience of the tenant."""
        ...

    @property
    def csv(self) -> str | None:
        """A file, relative to the campaign file."""
        ...

    @property
    def sql(self) -> str | None:
        """A query on the database that ``block`` names."""
        ...

    @property
    def block(self) -> str | None:
        """Name of the block that knows the database's URL."""
        ...

    @property
    def where(self) -> str | None:
        """A condition over the audience's columns."""
        ...


@dataclass(slots=True, kw_only=True)
class SourceStats:
    """What a source met so far; whole once its batches are used up.

    Attributes:
        rejected: rows that yielded no recipient.
        partial: recipients that lost a field (a bad number beside a good address).
        duplicates: rows whose pair of addresses had been seen already.
        filtered: recipients that ``where`` left out, where it is not the database that filters.
        yielded: recipients handed out.
        rejects_path: the file that lists bad rows and fields, None when there is none.
    """

    rejected: int = 0
    partial: int = 0
    duplicates: int = 0
    filtered: int = 0
    yielded: int = 0
    rejects_path: Path | None = None


class Source(Protocol):
    """An opened source of recipients, read once, front to back."""

    columns: Sequence[str]
    stats: SourceStats

    def batches(self) -> AsyncIterator[Sequence[Recipient]]:
        """Recipients in the source's order, some thousands at a time; no batch is empty."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong in one row.

    Attributes:
        line: physical line of the file (or number of the row in a query's result), from 1.
        field: the column; empty where the row as a whole is wrong.
        value: what stood there.
        kept: whether the row still made a recipient, without this field.
    """

    line: int
    field: str
    value: str
    reason: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """How far an import is; ``bytes_total`` is the file's size."""

    bytes_read: int
    bytes_total: int
    imported: int
    rejected: int
    duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import did. ``partial`` counts imported recipients that lost a bad field."""

    audience: str
    imported: int
    rejected: int
    partial: int
    duplicates: int
    columns: tuple[str, ...]
    rejects_path: Path | None
    generation: int
    encoding: str
    delimiter: str
