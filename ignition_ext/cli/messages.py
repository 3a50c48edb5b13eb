"""``ignition messages``: what became of each recipient of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from cyclopts import App, Parameter

from ignition_ext.cli.context import open_database
from ignition_ext.cli.messages_failed import list_failed, redrive_failed
from ignition_ext.cli.output import note, print_table
from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.export import Export, open_export
from ignition_ext.ledger.runs import find_run
from ignition_ext.values import MessageState

app = App(name="messages", help="Messages of a run: states, server replies, times.")
app.command(list_failed, name="failed")
app.command(redrive_failed, name="redrive")

PAGE = 1000
_TABLE_COLUMNS = (
    "address",
    "state",
    "attempts",
    "code",
    "failure_class",
    "detail",
    "provider_id",
    "sent_at",
)
"""What fits into a terminal; the files have all columns."""


@app.command(name="list")
async def list_messages(
    *,
    run: str,
    state: Annotated[tuple[MessageState, ...], Parameter(consume_multiple=True)] = (),
    format: Literal["table", "csv", "jsonl", "parquet"] = "table",
    json: Annotated[bool, Parameter(negative="")] = False,
    output: Path | None = None,
) -> None:
    """List the messages of a run, one row each, ordered by address; streams, however many.

    CSV is safe to open in a spreadsheet: a cell that would be a formula starts with a quote;
    telephone numbers (a plus sign and digits) are left as they are.

    Args:
        run: Run id, Prefect flow run id, or TENANT/CAMPAIGN for its latest run.
        state: Only messages in these states.
        format: How to write them; Parquet needs --output or a pipe.
        json: One JSON list on stdout.
        output: File to write instead of stdout; it appears when it is whole.
    """
    kind = "json" if json else format
    if kind == "table" and output is not None:
        raise ConfigurationError(
            "a table is for the terminal.", mend="Add --format csv, jsonl or parquet, or --json."
        )
    async with open_database() as database:
        async with database.read() as session:
            row = await find_run(session, run)
        pages = open_ledger(database).messages(row.id, states=state, batch=PAGE)
        if kind == "table":
            count = await _print_tables(pages)
        else:
            with _stream(output, is_binary=kind == "parquet") as stream:
                count = await _write(pages, open_export(kind, stream))
    note(f"{count} messages of run {row.id}" + (f" -> {output}" if output else ""))


async def _print_tables(pages: AsyncIterator[Sequence[Mapping[str, Any]]]) -> int:
    count = 0
    async for page in pages:
        print_table(page, *_TABLE_COLUMNS)
        count += len(page)
    return count


async def _write(pages: AsyncIterator[Sequence[Mapping[str, Any]]], export: Export) -> int:
    count = 0
    async for page in pages:
        export.write(page)
        count += len(page)
    export.close()
    return count


@contextmanager
def _stream(output: Path | None, *, is_binary: bool) -> Iterator[BinaryIO]:
    if output is None:
        if is_binary and sys.stdout.isatty():
            raise ConfigurationError(
                "Parquet is not for a terminal.", mend="Add --output FILE, or pipe it on."
            )
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = output.with_name(f"{output.name}.part")
    try:
        with partial.open("wb") as stream:
            yield stream
        os.replace(partial, output)
    except OSError as error:
        raise ConfigurationError(
            f"{output}: {error.strerror}.", mend="Choose a file that may be written."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
