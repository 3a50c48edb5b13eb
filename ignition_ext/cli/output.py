"""How every command speaks: JSON or tables on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
"""Stdout: what was asked for."""
err = Console(stderr=True, highlight=False)
"""Stderr: errors, logs and progress."""


def jsonable(value: Any) -> Any:
    """The JSON form of Ignition's values: ISO 8601 times, seconds for durations."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_json(document: Any) -> None:
    """One JSON document on stdout and nothing else."""
    json.dump(document, sys.stdout, default=jsonable, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_table(rows: Sequence[Mapping[str, Any]], *columns: str, title: str = "") -> None:
    """A table of the named columns (all of the first row's when none is named)."""
    names = columns or tuple(rows[0] if rows else ())
    table = Table(title=title or None, header_style="bold")
    for name in names:
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if row.get(name) is None else str(row[name]) for name in names))
    out.print(table)


def note(message: str) -> None:
    """A line for the person at the terminal, on stderr."""
    err.print(message, markup=False, soft_wrap=True)
