"""Mails that came back, as rows: stored whole before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.reports import MailReport, ReportedRecipient, ReportKind, parse_report
from ignition_ext.models.mail_report import MailReport as MailReportRow
from ignition_ext.values import FailureClass, new_id

REPORTS: Table = SQLModel.metadata.tables[str(MailReportRow.__tablename__)]
RAW_OCTETS = 32 * 1024
"""What is kept of a mail that nobody can place: enough to see what it is, and its report."""
RAW_KEPT = timedelta(days=30)
"""How long: a person looks at it within a month or never, and it is full of people's words."""
_OPEN = ("new", "waiting")
_LENGTHS = {"address": 320, "status": 12, "code": 20, "detail": 500, "remote_mta": 255}
_SOURCE_LENGTH, _NOTE_LENGTH = 200, 500


class RowState(StrEnum):
    """How far a stored mail is."""

    NEW = "new"
    WAITING = "waiting"
    SETTLED = "settled"
    UNMATCHED = "unmatched"
    IGNORED = "ignored"


class MatchedBy(StrEnum):
    """How a mail was found to be about a message; the later ones are weaker."""

    LEDGER = "ledger"
    TOKEN = "token"  # noqa: S105 - how it was found, no secret
    MESSAGE_ID = "message_id"
    RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMail:
    """One mail as it was taken in.

    Attributes:
        raw: header and body.
        source: where it came from, for people: ``imap bounces@imap.example.com``.
        envelope_to: the addresses of RCPT, where it came by LMTP.
    """

    raw: bytes
    source: str
    envelope_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMail:
    """A stored mail that nothing has been made of yet."""

    id: UUID
    received_at: datetime
    report: MailReport


async def add(session: AsyncSession, mails: Sequence[IncomingMail]) -> int:
    """Store mails; returns how many were not there yet."""
    rows = {row["digest"]: row for row in map(_row, mails)}
    if not rows:
        return 0
    connection = await session.connection()
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = (
        insert(REPORTS)
        .values(list(rows.values()))
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(REPORTS.c.id)
    )
    return len((await connection.execute(statement)).all())


def _row(mail: IncomingMail) -> dict[str, Any]:
    report = parse_report(mail.raw)
    decisive = report.decisive
    state = _first_state(report.kind)
    told = asdict(report) | {"returned_to": [*mail.envelope_to, *report.returned_to]}
    return {
        "id": new_id(),
        "digest": sha256(mail.raw).hexdigest(),
        "source": _clean(mail.source, _SOURCE_LENGTH),
        "received_at": datetime.now(UTC),
        "kind": report.kind.value,
        "state": state.value,
        "matched_by": "",
        "failure_class": decisive.failure_class and decisive.failure_class.value,
        "is_hard": decisive.is_hard,
        "note": "",
        # People's words to us are nobody's business here.
        "report": {} if state is RowState.IGNORED else _storable(told),
        "raw": None if state is RowState.IGNORED else mail.raw[:RAW_OCTETS],
        **words(
            address=decisive.original or decisive.address or report.sender,
            status=decisive.status,
            code=decisive.code,
            detail=decisive.diagnostic or report.feedback_type or report.subject,
            remote_mta=decisive.remote_mta or report.reporting_mta,
        ),
    }


def _first_state(kind: ReportKind) -> RowState:
    match kind:
        case ReportKind.AUTO_REPLY | ReportKind.CHALLENGE:
            return RowState.IGNORED
        case ReportKind.UNKNOWN:
            return RowState.UNMATCHED
        case _:
            return RowState.NEW


def words(**texts: str) -> dict[str, str]:
    """Columns of text, cut to what they hold."""
    return {name: _clean(text, _LENGTHS[name]) for name, text in texts.items()}


def _clean(text: str, length: int | None = None) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:length]


def _storable(value: Any) -> Any:
    """The same without what PostgreSQL's JSON refuses, and with it all mails of its group."""
    match value:
        case str():
            return _clean(value)
        case list() | tuple():
            return [_storable(one) for one in value]
        case dict():
            return {key: _storable(one) for key, one in value.items()}
        case _:
            return value


async def unsettled(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[StoredMail]:
    """Mails of which something is still to be made, in the order in which they came."""
    rows = REPORTS.c
    statement = (
        select(rows.id, rows.received_at, rows.report)
        .where(rows.state.in_(_OPEN))
        .order_by(rows.received_at, rows.id)
        .limit(limit)
    )
    if after is not None:
        at, key = after
        statement = statement.where(
            (rows.received_at > at) | ((rows.received_at == at) & (rows.id > key))
        )
    found = await (await session.connection()).execute(statement)
    return [
        StoredMail(id=row.id, received_at=row.received_at, report=read_report(row.report))
        for row in found
    ]


def read_report(stored: dict[str, Any]) -> MailReport:
    """A report from its JSON; of one that was forgotten nothing is left."""
    if not stored:
        return MailReport(kind=ReportKind.UNKNOWN)
    recipients = [
        ReportedRecipient(
            **one | {"failure_class": one["failure_class"] and FailureClass(one["failure_class"])}
        )
        for one in stored["recipients"]
    ]
    # One that an earlier release stored knows no tokens.
    lists = {name: tuple(stored.get(name, ())) for name in ("returned_to", "message_ids", "tokens")}
    return MailReport(
        **stored | lists | {"kind": ReportKind(stored["kind"]), "recipients": tuple(recipients)}
    )


async def own(session: AsyncSession, keys: Sequence[UUID]) -> set[UUID]:
    """Those of some mails that no other process has settled, held until the transaction ends."""
    statement = (
        select(REPORTS.c.id)
        .where(REPORTS.c.id.in_(keys), REPORTS.c.state.in_(_OPEN))
        .order_by(REPORTS.c.id)
        .with_for_update()
    )
    return set((await (await session.connection()).execute(statement)).scalars())


async def change(session: AsyncSession, changes: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Change mails that are held, all of them in the same columns."""
    if not changes:
        return
    names = next(iter(changes.values()))
    statement = (
        update(REPORTS)
        .where(REPORTS.c.id == bindparam("key"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )
    rows = [
        {"key": key} | {f"new_{name}": value for name, value in columns.items()}
        for key, columns in changes.items()
    ]
    await (await session.connection()).execute(statement, rows)


def unmatched(note: str) -> dict[str, Any]:
    """What is changed in a mail of which nobody knows whom it is about."""
    return {"state": RowState.UNMATCHED.value, "note": _clean(note, _NOTE_LENGTH)}


def settled(*, by: MatchedBy, tenant_id: int, message_id: UUID, address: str) -> dict[str, object]:
    """What is changed in a mail that is carried out; its words are not kept."""
    return {
        "state": RowState.SETTLED.value,
        "matched_by": by.value,
        "tenant_id": tenant_id,
        "message_id": message_id,
        "address": address,
        "settled_at": datetime.now(UTC),
        "report": {},
        "raw": None,
    }


async def drop_old_bodies(session: AsyncSession) -> None:
    """Forget the mails themselves that nobody could place within :data:`RAW_KEPT`."""
    old = datetime.now(UTC) - RAW_KEPT
    statement = (
        update(REPORTS)
        .where(REPORTS.c.state == RowState.UNMATCHED.value)
        .where(REPORTS.c.received_at < old, REPORTS.c.raw.is_not(None))
        .values(raw=None, report={})
    )
    await (await session.connection()).execute(statement)


async def list_unmatched(session: AsyncSession, *, limit: int) -> Sequence[dict[str, Any]]:
    """Mails that fit no message, the newest first."""
    rows = REPORTS.c
    statement = (
        select(
            rows.id,
            rows.received_at,
            rows.source,
            rows.kind,
            rows.address,
            rows.status,
            rows.failure_class,
            rows.detail,
            rows.remote_mta,
            rows.note,
        )
        .where(rows.state == RowState.UNMATCHED.value)
        .order_by(rows.received_at.desc(), rows.id.desc())
        .limit(limit)
    )
    found = await (await session.connection()).execute(statement)
    return [dict(row._mapping) for row in found]


async def count_by_state(session: AsyncSession) -> dict[str, int]:
    """How many mails are in which state."""
    statement = select(REPORTS.c.state, func.count()).group_by(REPORTS.c.state)
    found = await (await session.connection()).execute(statement)
    return {str(state): int(count) for state, count in found}
