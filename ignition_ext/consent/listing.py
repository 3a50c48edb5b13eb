"""Reads the suppression list, page by page, and writes it for people and programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, Literal

from sqlalchemy import func
from sqlmodel import col, select

from ignition_ext.consent.suppressions import SuppressionReason
from ignition_ext.database import Database
from ignition_ext.ledger.export import csv_cell
from ignition_ext.models import ForgottenAddress, Suppression
from ignition_ext.values import Channel

COLUMNS = ("channel", "email", "phone", "reason", "detail", "actor", "created_at")
"""Of a file: an address stands in its own channel's column, so that an import reads it back."""
PAGE = 2000
"""Rows in memory at a time."""
ExportFormat = Literal["csv", "jsonl"]


async def suppressions(
    database: Database,
    *,
    tenant_id: int,
    channel: Channel | None = None,
    reason: SuppressionReason | None = None,
    most: int | None = None,
) -> AsyncIterator[Sequence[Suppression]]:
    """The list in pages, in the order in which addresses came onto it.

    Args:
        database: Ignition's.
        tenant_id: whose list.
        channel: only this one's.
        reason: only those that stand there for it.
        most: stop after so many; None for all.
    """
    query = select(Suppression).where(Suppression.tenant_id == tenant_id)
    if channel is not None:
        query = query.where(Suppression.channel == channel.value)
    if reason is not None:
        query = query.where(Suppression.reason == reason.value)
    last, left = 0, most
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        # A transaction a page: a long export keeps nothing from being cleaned up.
        async with database.read() as session:
            found = query.where(col(Suppression.id) > last).order_by(col(Suppression.id))
            page = (await session.exec(found.limit(size))).all()
        if page:
            yield page
        if len(page) < size:
            return
        last = page[-1].id or 0
        left = None if left is None else left - len(page)


async def count_suppressions(database: Database, *, tenant_id: int) -> Mapping[str, int]:
    """How many addresses a tenant may not write to, by channel and reason: ``email bounce``.

    Forgotten ones, of which only a hash is left, count as ``email forgotten``.
    """
    async with database.read() as session:
        rows = await session.exec(
            select(Suppression.channel, Suppression.reason, func.count())
            .where(Suppression.tenant_id == tenant_id)
            .group_by(Suppression.channel, Suppression.reason)
            .order_by(Suppression.channel, Suppression.reason)
        )
        counts = {f"{channel} {reason}": number for channel, reason, number in rows}
        forgotten = await session.exec(
            select(ForgottenAddress.channel, func.count())
            .where(ForgottenAddress.tenant_id == tenant_id)
            .group_by(ForgottenAddress.channel)
            .order_by(ForgottenAddress.channel)
        )
        return counts | {f"{channel} forgotten": number for channel, number in forgotten}


def listed(row: Suppression) -> dict[str, Any]:
    """A row of the list as JSON shows it."""
    return {
        "channel": row.channel,
        "address": row.address,
        "reason": row.reason,
        "detail": row.detail,
        "actor": row.actor,
        "created_at": _time(row.created_at),
    }


async def export_suppressions(
    pages: AsyncIterator[Sequence[Suppression]], stream: BinaryIO, kind: ExportFormat
) -> int:
    """Write the list into a stream, page by page; returns how many rows.

    Args:
        pages: of :func:`suppressions`.
        stream: takes UTF-8.
        kind: CSV with a header, safe to open in a spreadsheet, or one JSON object a line.
    """
    count = 0
    if kind == "csv":
        stream.write(_csv([COLUMNS]))
    async for page in pages:
        if kind == "csv":
            stream.write(_csv([_cells(row) for row in page]))
        else:
            lines = (json.dumps(listed(row), ensure_ascii=False) + "\n" for row in page)
            stream.write("".join(lines).encode())
        count += len(page)
    return count


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cells(row: Suppression) -> list[str]:
    is_email = row.channel == Channel.EMAIL
    addresses = (row.address, "") if is_email else ("", row.address)
    values = (row.channel, *addresses, row.reason, row.detail, row.actor, _time(row.created_at))
    return [csv_cell(value) for value in values]


def _time(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")
