"""What ``ignition doctor`` says of what comes back: mails and receipts that fit nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Table, case, func, select
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.reports import ReportKind
from ignition_ext.cli.context import ask
from ignition_ext.database import database_now
from ignition_ext.health.check import Check, failed, hint, passed
from ignition_ext.models import Receipt
from ignition_ext.returns.mail_rows import REPORTS, RowState
from ignition_ext.settings import Settings
from ignition_ext.values import Channel

RECENT = timedelta(days=1)
"""What is older was told of before."""
LATE = timedelta(minutes=15)
"""The flow that settles mails runs each five minutes; a busy worker may pass one over."""
EARLY = timedelta(minutes=10)
"""A receipt may be there before the SMSC's answer is stored, and a sender may be slow to do it."""
RECEIPTS: Table = SQLModel.metadata.tables[str(Receipt.__tablename__)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What was left of a day.

    Attributes:
        mails: that fit no message, by kind.
        forged: of these, mails with a token that is not ours.
        waiting_since: when the oldest mail came that nobody has looked at.
        receipts: that fit no message.
        binds: that they came by.
    """

    mails: dict[str, int]
    forged: int
    waiting_since: datetime | None
    receipts: int
    binds: tuple[str, ...]


async def check_returns(settings: Settings) -> list[Check]:
    """The mails and receipts of the last day of which nothing could be made."""
    left = await ask(settings, _left)
    if left is None:
        return []
    return [*_mails(left), *_receipts(left)]


async def _left(session: AsyncSession) -> Left:
    now = await database_now(session)
    connection, mails = await session.connection(), REPORTS.c
    is_forged = case((mails.note.contains("forged"), 1), else_=0)
    unmatched = (
        select(mails.kind, func.count(), func.sum(is_forged))
        .where(mails.state == RowState.UNMATCHED.value, mails.received_at > now - RECENT)
        .group_by(mails.kind)
        .order_by(mails.kind)
    )
    kinds = (await connection.execute(unmatched)).all()
    untouched = select(func.min(mails.received_at)).where(
        mails.state == RowState.NEW.value, mails.received_at < now - LATE
    )
    columns = RECEIPTS.c
    lost = (
        select(columns.bind, func.count())
        .where(
            columns.message_id.is_(None),
            columns.channel == Channel.SMS.value,
            columns.received_at > now - RECENT,
            columns.received_at < now - EARLY,
        )
        .group_by(columns.bind)
        .order_by(columns.bind)
    )
    binds = (await connection.execute(lost)).all()
    return Left(
        mails={kind: count for kind, count, _ in kinds},
        forged=sum(int(forged) for _, _, forged in kinds),
        waiting_since=(await connection.execute(untouched)).scalar_one(),
        receipts=sum(count for _, count in binds),
        binds=tuple(bind for bind, _ in binds),
    )


def _mails(left: Left) -> Iterator[Check]:
    if left.waiting_since is not None:
        yield failed(
            "mails that came back",
            f"some wait to be looked at since {left.waiting_since:%Y-%m-%d %H:%M} UTC.",
            "Run in a clone: prefect deploy --all, and start a worker for the pool default; or run:"
            " ignition bounces listen",
        )
    if not left.mails:
        if left.waiting_since is None:
            yield passed("mails that came back", "none of the last day fits nothing")
        return
    kinds = ", ".join(f"{count} {_words(kind)}" for kind, count in left.mails.items())
    mend = "Run: ignition bounces unmatched"
    if left.forged:
        mend += (
            f". {left.forged} bear a token that is not ours: is IGNITION_SIGNING_KEY the same on"
            " all nodes, and an earlier one in IGNITION_SIGNING_KEYS_OLD?"
        )
    if ReportKind.UNSUBSCRIBE.value in left.mails:
        mend += (
            ". Who asks to unsubscribe and is not known: see whom it is from, and run:"
            " ignition suppression add ADDRESS --tenant T"
        )
    yield hint("mails that came back", f"of the last day fit no message: {kinds}.", mend)


def _words(kind: str) -> str:
    return "of another kind" if kind == ReportKind.UNKNOWN.value else kind.replace("_", " ")


def _receipts(left: Left) -> Iterator[Check]:
    if not left.receipts:
        yield passed("receipts", "none of the last day fits nothing")
        return
    yield hint(
        "receipts",
        f"{left.receipts} of the last day fit no message; they came by {', '.join(left.binds)}.",
        "Run: ignition receipts unmatched. If their ids are those of messages in another form,"
        " correct receipt_id_format in the block and run: ignition receipts match --block NAME",
    )
