"""Addresses that servers refused during runs: counted where bounces are counted.

The sending itself looks at none of this. The ledger's events say what was refused; whoever
settles mails that came back reads the new ones and puts them beside those.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.reports import ReportKind
from ignition_ext.database import Database
from ignition_ext.models import Message, MessageEvent
from ignition_ext.returns.mail_policy import Returned, is_hard_refusal, judge_addresses
from ignition_ext.returns.mail_rows import REPORTS, MatchedBy, RowState, words
from ignition_ext.values import Channel, FailureClass, MessageState, new_id

SOURCE = "smtp"
PAGE = 500
"""Refusals taken in one transaction: some tens of milliseconds for SQLite's only writer."""
OLDEST = timedelta(days=14)
"""How far back the first look goes; what was refused earlier shows itself again."""
OVERLAP = timedelta(hours=1)
"""How much later than its time an event may appear, with the transaction that wrote it."""


async def take_refusals(database: Database) -> tuple[int, int]:
    """Count what was refused since the last time; returns refusals, and addresses suppressed."""
    taken = suppressed = 0
    async with database.read() as session:
        since = await _since(session)
    while True:
        async with database.read() as session:
            rows = await _page(session, since)
        if rows:
            async with database.write() as session:
                new = await _store(session, rows)
                suppressed += await judge_addresses(session, [_returned(row) for row in new])
                taken += len(new)
        if len(rows) < PAGE:
            return taken, suppressed


async def _since(session: AsyncSession) -> datetime:
    newest = select(func.max(REPORTS.c.received_at)).where(
        REPORTS.c.source == SOURCE,
        REPORTS.c.state == RowState.SETTLED.value,
        REPORTS.c.received_at > datetime.now(UTC) - OLDEST,
    )
    last = (await (await session.connection()).execute(newest)).scalar()
    return datetime.now(UTC) - OLDEST if last is None else last - OVERLAP


async def _page(session: AsyncSession, since: datetime) -> list[Row[Any]]:
    event, message = MessageEvent, Message
    known = exists().where(
        REPORTS.c.message_id == col(event.message_id),
        REPORTS.c.received_at == col(event.at),
        REPORTS.c.source == SOURCE,
    )
    statement = (
        select(
            col(event.message_id),
            col(event.seq),
            col(event.at),
            col(event.tenant_id),
            col(event.code),
            col(event.failure_class),
            col(event.detail),
            col(message.address),
            col(message.enhanced),
        )
        .join(
            message,
            (col(message.id) == col(event.message_id)) & (col(message.run_at) == col(event.run_at)),
        )
        .where(
            col(event.new_state) == MessageState.FAILED.value,
            col(event.failure_class).in_([FailureClass.ADDRESS.value, FailureClass.MAILBOX.value]),
            col(event.code) != "",
            col(event.at) > since,
            col(message.channel) == Channel.EMAIL.value,
            ~known,
        )
        .order_by(col(event.at))
        .limit(PAGE)
    )
    return list((await (await session.connection()).execute(statement)).all())


async def _store(session: AsyncSession, rows: list[Row[Any]]) -> list[Row[Any]]:
    """Put refusals beside the bounces; returns those that no other process was quicker with."""
    connection = await session.connection()
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    by_digest = {f"{SOURCE}:{row.message_id.hex}:{row.seq}": row for row in rows}
    statement = (
        insert(REPORTS)
        .values([_columns(digest, row) for digest, row in by_digest.items()])
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(REPORTS.c.digest)
    )
    new = (await connection.execute(statement)).scalars()
    return [by_digest[digest] for digest in new]


def _columns(digest: str, row: Row[Any]) -> dict[str, Any]:
    return {
        "id": new_id(),
        "digest": digest,
        "source": SOURCE,
        "received_at": row.at,
        "kind": ReportKind.BOUNCE.value,
        "state": RowState.SETTLED.value,
        "matched_by": MatchedBy.LEDGER.value,
        "tenant_id": row.tenant_id,
        "message_id": row.message_id,
        "failure_class": row.failure_class,
        "is_hard": _is_hard(row),
        "note": "",
        "report": {},
        "raw": None,
        "settled_at": datetime.now(UTC),
        **words(
            address=row.address,
            status=row.enhanced,
            code=row.code,
            detail=row.detail,
            remote_mta="",
        ),
    }


def _is_hard(row: Row[Any]) -> bool:
    is_address = row.failure_class == FailureClass.ADDRESS.value
    return bool(is_address and is_hard_refusal(row.code, row.enhanced, row.detail))


def _returned(row: Row[Any]) -> Returned:
    return Returned(
        tenant_id=row.tenant_id,
        address=row.address,
        kind=ReportKind.BOUNCE,
        failure_class=FailureClass(row.failure_class),
        status=row.enhanced or row.code,
        is_hard=_is_hard(row),
        by=MatchedBy.LEDGER,
    )
