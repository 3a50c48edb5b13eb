"""Puts a CSV file onto a tenant's suppression list, a batch a transaction."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ignition_ext.audience.csv_source import CsvSource
from ignition_ext.audience.rejects import rejects_path_of
from ignition_ext.consent.suppressions import SuppressionReason, suppress
from ignition_ext.database import Database
from ignition_ext.tenants import get_tenant
from ignition_ext.values import Channel, Recipient

_GUARDED = re.compile(r"'[=+\-@]")
"""How an export writes an address that a spreadsheet would take for a formula."""


@dataclass(slots=True, kw_only=True)
class SuppressionImport:
    """What an import did.

    Attributes:
        added: addresses that are new on the list, by channel.
        known: that stood on it, or twice in the file.
        rejected: rows without any address that can be written to.
        rejects_path: the file that tells of them; None where there is nothing to tell.
    """

    added: dict[Channel, int] = field(default_factory=lambda: dict.fromkeys(Channel, 0))
    known: int = 0
    rejected: int = 0
    rejects_path: Path | None = None


async def import_suppressions(
    database: Database,
    *,
    tenant: str,
    path: Path,
    channel: Channel | None,
    reason: SuppressionReason,
    rejects: Path | None,
    actor: str,
    encoding: str | None = None,
    progress: Callable[[SuppressionImport], None] | None = None,
) -> SuppressionImport:
    """Put the addresses of a CSV file onto the list; the same file twice changes nothing.

    A batch that was stored stays when a later one fails: fewer people are written to, never more.
    The column ``reason``, where it names one, goes before ``reason``.

    Args:
        database: Ignition's.
        tenant: whose list.
        path: CSV with a header that names email or phone.
        channel: take only this one's column.
        reason: of rows that name none.
        rejects: the file for bad rows; None: ``NAME.rejects.csv`` beside the source.
        actor: for the audit log.
        encoding: a Python codec, where the file's own cannot be found.
        progress: called after each batch with what was done until then.

    Raises:
        AudienceError: it is no CSV file.
        NotFoundError: there is no such tenant.
    """
    async with database.read() as session:
        owner = await get_tenant(session, tenant)

    def open_csv() -> CsvSource:
        target = rejects or rejects_path_of(path)
        return CsvSource(path, region=owner.region, rejects=target, unique=False, encoding=encoding)

    source = await asyncio.to_thread(open_csv)
    result = SuppressionImport()
    column = next((name for name in source.columns if name.lower() == "reason"), "reason")
    try:
        async for batch in source.batches():
            grouped = _grouped(batch, channel, lambda row: _reason(row.data.get(column), reason))
            await _store(database, owner.id or 0, grouped, result, actor)
            result.rejected = source.stats.rejected
            if progress is not None:
                progress(result)
        source.finish()
        result.rejected, result.rejects_path = source.stats.rejected, source.stats.rejects_path
        return result
    finally:
        await asyncio.to_thread(source.close)


def _reason(named: object, usual: SuppressionReason) -> SuppressionReason:
    text = str(named or "").lower()
    return SuppressionReason(text) if text in list(SuppressionReason) else usual


def _grouped(
    batch: Sequence[Recipient],
    only: Channel | None,
    reason_of: Callable[[Recipient], SuppressionReason],
) -> Mapping[tuple[Channel, SuppressionReason], list[str]]:
    found: dict[tuple[Channel, SuppressionReason], list[str]] = defaultdict(list)
    for recipient in batch:
        reason = reason_of(recipient)
        for channel, address in ((Channel.EMAIL, recipient.email), (Channel.SMS, recipient.phone)):
            if address and only in (None, channel):
                found[channel, reason].append(_plain(address))
    return found


def _plain(address: str) -> str:
    return address[1:] if _GUARDED.match(address) else address


async def _store(
    database: Database,
    tenant_id: int,
    addresses: Mapping[tuple[Channel, SuppressionReason], Sequence[str]],
    result: SuppressionImport,
    actor: str,
) -> None:
    async with database.write() as session:
        for (channel, reason), some in addresses.items():
            added = await suppress(
                session,
                tenant_id=tenant_id,
                channel=channel,
                addresses=some,
                reason=reason,
                detail="imported from a file",
                actor=actor,
            )
            result.added[channel] += added
            result.known += len(some) - added
