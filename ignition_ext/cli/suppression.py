"""``ignition suppression``: addresses that a tenant must not write to."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import App, Parameter

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import err, note, print_json, print_table
from ignition_ext.consent.addresses import channel_of, normalise
from ignition_ext.consent.importing import SuppressionImport, import_suppressions
from ignition_ext.consent.listing import (
    ExportFormat,
    count_suppressions,
    export_suppressions,
    listed,
    suppressions,
)
from ignition_ext.consent.suppressions import SuppressionReason, lift, suppress
from ignition_ext.database import Database
from ignition_ext.models import Tenant
from ignition_ext.tenants import get_tenant
from ignition_ext.values import Channel

app = App(name="suppression", help="Suppressions: addresses that must not be written to, and why.")
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command(name="list")
async def list_(
    *,
    tenant: str,
    channel: Channel | None = None,
    reason: SuppressionReason | None = None,
    limit: int = 100,
    json: Json = False,
) -> None:
    """The tenant's suppression list; how many there are by channel and reason goes to stderr.

    Args:
        tenant: Whose list.
        channel: Only this one's.
        reason: Only those that stand there for it.
        limit: How many at most; export writes all.
        json: Print them as one JSON document.
    """
    async with open_database() as database:
        owner = await _tenant(database, tenant)
        pages = suppressions(
            database, tenant_id=owner.id or 0, channel=channel, reason=reason, most=limit
        )
        rows = [listed(row) async for page in pages for row in page]
        counts = await count_suppressions(database, tenant_id=owner.id or 0)
    if json:
        print_json(rows)
        return
    print_table(rows, "channel", "address", "reason", "detail", "actor", "created_at")
    told = ", ".join(f"{name} {number:,}" for name, number in counts.items())
    note(f"On the list of {tenant}: {told or 'nobody'}.")


@app.command
async def add(
    *addresses: str,
    tenant: str,
    channel: Channel | None = None,
    reason: SuppressionReason = SuppressionReason.MANUAL,
    detail: str = "",
    json: Json = False,
) -> None:
    """Put addresses on the list; those that stand there already stay as they are.

    Args:
        addresses: Email addresses, or telephone numbers as the tenant's region writes them.
        tenant: Whose list.
        channel: That they are not written to on; by default email for what has an @-sign.
        reason: Why.
        detail: In more words, for the list and the audit log; addresses are marked there.
        json: Print the result as one JSON document.
    """
    added = 0
    async with open_database() as database:
        owner = await _tenant(database, tenant)
        wanted = _by_channel(addresses, channel, owner)
        async with database.write() as session:
            for one, some in wanted.items():
                added += await suppress(
                    session,
                    tenant_id=owner.id or 0,
                    channel=one,
                    addresses=some,
                    reason=reason,
                    detail=detail,
                    actor=actor(),
                )
    if json:
        print_json({"tenant": tenant, "added": added, "known": _count(wanted) - added})
    else:
        note(f"{added} added, {_count(wanted) - added} stood there already.")


@app.command
async def remove(
    *addresses: str,
    tenant: str,
    reason: str,
    channel: Channel | None = None,
    json: Json = False,
) -> None:
    """Take addresses off the list, whatever they stand there for, also forgotten ones.

    Args:
        addresses: Email addresses, or telephone numbers as the tenant's region writes them.
        tenant: Whose list.
        reason: Why they may be written to again; for the audit log, addresses are marked there.
        channel: That they may be written to on; by default email for what has an @-sign.
        json: Print the result as one JSON document.
    """
    removed = 0
    async with open_database() as database:
        owner = await _tenant(database, tenant)
        wanted = _by_channel(addresses, channel, owner)
        async with database.write() as session:
            for one, some in wanted.items():
                removed += await lift(
                    session,
                    tenant_id=owner.id or 0,
                    channel=one,
                    addresses=some,
                    actor=actor(),
                    detail=reason,
                )
    if json:
        print_json({"tenant": tenant, "removed": removed, "unknown": _count(wanted) - removed})
    else:
        note(f"{removed} removed, {_count(wanted) - removed} did not stand there.")


@app.command(name="import")
async def import_(
    file: Path,
    *,
    tenant: str,
    channel: Channel | None = None,
    reason: SuppressionReason = SuppressionReason.IMPORTED,
    rejects: Path | None = None,
    encoding: str | None = None,
    json: Json = False,
) -> None:
    """Put the addresses of a CSV file on the list; the same file twice changes nothing.

    Bad rows go to a rejects file with line and reason. What was stored before a failure stays.

    Args:
        file: CSV with a header that names email or phone; a column reason is heeded.
        tenant: Whose list.
        channel: Take only this one's column.
        reason: Of rows that name none.
        rejects: File for bad rows; by default NAME.rejects.csv beside the source.
        encoding: Where the wrong one is found: utf-8, cp1252, shift_jis …
        json: Print the result as one JSON document.
    """
    async with open_database() as database:
        with err.status("") as status:
            result = await import_suppressions(
                database,
                tenant=tenant,
                path=file,
                channel=channel,
                reason=reason,
                rejects=rejects,
                actor=actor(),
                encoding=encoding,
                progress=lambda now: status.update(_words(now)),
            )
    if json:
        print_json(result)
    else:
        note(_words(result))
        if result.rejects_path:
            note(f"Bad rows and fields: {result.rejects_path}")


@app.command
async def export(
    *,
    tenant: str,
    channel: Channel | None = None,
    reason: SuppressionReason | None = None,
    format: ExportFormat = "csv",
    output: Path | None = None,
) -> None:
    """Write the whole list as CSV or JSON Lines; an import reads the CSV back.

    Args:
        tenant: Whose list.
        channel: Only this one's.
        reason: Only those that stand there for it.
        format: How to write it.
        output: File to write instead of stdout; it appears when it is whole.
    """
    async with open_database() as database:
        owner = await _tenant(database, tenant)
        pages = suppressions(database, tenant_id=owner.id or 0, channel=channel, reason=reason)
        with _stream(output) as stream:
            count = await export_suppressions(pages, stream, format)
    note(f"{count:,} addresses of {tenant}" + (f" -> {output}" if output else ""))


async def _tenant(database: Database, name: str) -> Tenant:
    async with database.read() as session:
        return await get_tenant(session, name)


def _by_channel(
    addresses: Sequence[str], channel: Channel | None, owner: Tenant
) -> Mapping[Channel, Sequence[str]]:
    """The addresses as audiences spell them, each once; refuses what is none."""
    found: dict[Channel, dict[str, None]] = defaultdict(dict)
    for address in addresses:
        one = channel or channel_of(address)
        found[one][normalise(one, address, owner.region)] = None
    return {one: list(some) for one, some in found.items()}


def _count(wanted: Mapping[Channel, Sequence[str]]) -> int:
    return sum(len(some) for some in wanted.values())


def _words(now: SuppressionImport) -> str:
    added = ", ".join(f"{number:,} for {channel}" for channel, number in now.added.items())
    return f"Added {added}; {now.known:,} known, {now.rejected:,} rows rejected."


@contextmanager
def _stream(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = output.with_name(f"{output.name}.part")
    try:
        # Personal data: for its owner's eyes only.
        with open(partial, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
            yield stream
        partial.replace(output)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
