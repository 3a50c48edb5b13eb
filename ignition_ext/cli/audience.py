"""``ignition audience``: lists of recipients that are stored by tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ignition_ext.audience import (
    ImportProgress,
    ImportResult,
    get_audience,
    import_csv,
    list_audiences,
)
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import err, note, print_json, print_table
from ignition_ext.models import Audience
from ignition_ext.tenants import get_tenant

app = App(name="audience", help="Audiences: who can be written to, stored from CSV files.")
SHOWN = ("name", "size", "columns", "source", "generation", "created_at", "updated_at")
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command(name="import")
async def import_(
    file: Path,
    *,
    tenant: str,
    name: str,
    rejects: Path | None = None,
    encoding: str | None = None,
    json: Json = False,
) -> None:
    """Store a CSV file as an audience, in place of what it held before.

    Bad rows go to a rejects file with line and reason, good rows are kept. Fails, and changes
    nothing, when no row is good.

    Args:
        file: CSV with a header that names email or phone; encoding and delimiter are found.
        tenant: Whose audience it is.
        name: The audience's name, as campaign files write it.
        rejects: File for bad rows; by default NAME.rejects.csv beside the source.
        encoding: Where the wrong one is found: utf-8, cp1252, shift_jis …
        json: Print the result as one JSON document.
    """
    async with open_database() as database:
        with _bar(file) as (bar, task):
            result = await import_csv(
                database,
                tenant=tenant,
                name=name,
                path=file,
                rejects=rejects,
                actor=actor(),
                progress=lambda now: _advance(bar, task, now),
                encoding=encoding,
            )
    if json:
        print_json(result)
    else:
        _tell(result)


@contextmanager
def _bar(file: Path) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on stderr that is gone when the import ends; none where nobody looks."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[counts]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        yield bar, bar.add_task(file.name, total=None, counts="")


def _advance(bar: Progress, task: TaskID, now: ImportProgress) -> None:
    counts = f"{now.imported:,} imported, {now.rejected:,} rejected"
    bar.update(task, completed=now.bytes_read, total=now.bytes_total, counts=counts)


def _tell(result: ImportResult) -> None:
    note(
        f"{result.audience}: {result.imported:,} recipients imported,"
        f" {result.duplicates:,} duplicates left out, {result.rejected:,} rows rejected,"
        f" {result.partial:,} kept without a bad field."
    )
    note(f"Read as {result.encoding}, fields separated by {result.delimiter!r}.")
    if result.rejects_path:
        note(f"Bad rows and fields: {result.rejects_path}")


@app.command(name="list")
async def list_(*, tenant: str, json: Json = False) -> None:
    """The tenant's audiences.

    Args:
        tenant: Whose audiences.
        json: Print them as one JSON document.
    """
    async with open_database() as database, database.read() as session:
        owner = await get_tenant(session, tenant)
        rows = [_row(audience) for audience in await list_audiences(session, owner.id or 0)]
    if json:
        print_json(rows)
    else:
        print_table(rows, "name", "size", "generation", "source", "updated_at")


@app.command
async def show(name: str, *, tenant: str, json: Json = False) -> None:
    """One audience: its size, its columns, the file it came from.

    Args:
        name: The audience.
        tenant: Whose it is.
        json: Print it as one JSON document.
    """
    async with open_database() as database, database.read() as session:
        owner = await get_tenant(session, tenant)
        row = _row(await get_audience(session, owner.id or 0, name, tenant=tenant))
    if json:
        print_json(row)
    else:
        print_table([{"field": key, "value": _shown(value)} for key, value in row.items()])


def _row(audience: Audience) -> dict[str, Any]:
    return {name: getattr(audience, name) for name in SHOWN}


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
