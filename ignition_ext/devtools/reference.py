"""Writes ``docs/reference.md`` from the code: settings, tables, errors, states.

``python -m ignition_ext.devtools.reference`` writes it; with ``--check`` it only compares.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Table

from ignition_ext import errors
from ignition_ext.models import metadata
from ignition_ext.settings import Settings
from ignition_ext.values import FailureClass, MessageState, OutcomeKind

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
_TESTS_ONLY = "test_"


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield "Environment variables, read by each process when it starts.\n"
    yield "| variable | default | meaning |\n|---|---|---|"
    for name, field in Settings.model_fields.items():
        if name.startswith(_TESTS_ONLY):
            continue
        default = "see meaning" if field.default_factory else repr(field.default)
        yield f"| `IGNITION_{name.upper()}` | {default} | {field.description} |"


def _tables() -> Iterator[str]:
    yield "\n## Tables\n"
    yield "On PostgreSQL in schema `ignition`; on SQLite without a schema.\n"
    for table in sorted(metadata.sorted_tables, key=lambda table: table.name):
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield f"### {table.name}\n"
    yield "| column | type | null | note |\n|---|---|---|---|"
    for column in table.columns:
        note = "key" if column.primary_key else ""
        for key in column.foreign_keys:
            note = f"{note} → {key.target_fullname}".strip()
        kind = str(column.type).split("(", maxsplit=1)[0].lower()
        yield f"| {column.name} | {kind} | {'yes' if column.nullable else ''} | {note} |"
    yield ""


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield "| error | when |\n|---|---|"
    for name, member in inspect.getmembers(errors, inspect.isclass):
        if issubclass(member, errors.IgnitionError):
            doc = inspect.getdoc(member) or ""
            yield f"| `{name}` | {doc.splitlines()[0]} |"


def _words() -> Iterator[str]:
    yield "\n## States, outcomes and failure classes\n"
    yield f"States of a message: {', '.join(f'`{state}`' for state in MessageState)}.\n"
    yield f"Outcomes of an attempt: {', '.join(f'`{kind}`' for kind in OutcomeKind)}.\n"
    yield f"Failure classes: {', '.join(f'`{kind}`' for kind in FailureClass)}."


def page() -> str:
    """The whole page as Markdown."""
    lines = ["# Reference", "", "Written from the code by `make docs`; do not edit.", ""]
    for part in (_settings, _words, _errors, _tables):
        lines.extend(part())
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the page, or with ``--check`` fail when it is out of step."""
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is out of step.")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
