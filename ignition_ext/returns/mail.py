"""Takes in mails that came back, and settles the ledger and the suppression list with them.

Two steps, so that nothing is lost and whoever hands in a mail never waits for more than its
storage: :meth:`MailDesk.store` makes it durable, :meth:`MailDesk.settle` finds its message and
carries out what it tells. The second may be cut off anywhere and run in any number of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.reports import MailReport, ReportKind
from ignition_ext.channels.reports.report import DELIVERED_ACTIONS
from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Effect, Evidence
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.returns import mail_leaving, mail_rows
from ignition_ext.returns.mail_match import Found, Match, match, signer_of_bounces
from ignition_ext.returns.mail_policy import Returned, judge_addresses
from ignition_ext.returns.mail_refusals import take_refusals
from ignition_ext.returns.mail_rows import IncomingMail, MatchedBy, RowState, StoredMail
from ignition_ext.schema import database_errors
from ignition_ext.values import MessageId, MessageState, Outcome, OutcomeKind

PAGE = 500
"""Mails settled in one transaction: some tens of milliseconds for SQLite's only writer."""
PATIENCE = timedelta(days=7)
"""How long a mail waits for its message to be through; a run of longer is past any deadline."""


@dataclass(slots=True, kw_only=True)
class Done:
    """What was made of mails.

    Attributes:
        kinds: mails settled, by kind.
        unmatched: mails whose message is not known.
        waiting: mails whose message is still on its way.
        refused: addresses that servers refused during runs.
        suppressed: addresses that are not written to any more.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    unmatched: int = 0
    waiting: int = 0
    refused: int = 0
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class _Case:
    mail: StoredMail
    found: Match
    effect: Effect | None


class MailDesk:
    """Mails that came back, over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledger = open_ledger(database)
        self._signer = signer_of_bounces()
        self._people = mail_leaving.signer_of_people()

    async def store(self, mails: Sequence[IncomingMail]) -> int:
        """Store mails; when it returns they are durable. Returns how many are new.

        Raises:
            DatabaseError: they could not be stored; whoever has them must keep them.
        """
        with database_errors(self._database):
            async with self._database.write() as session:
                return await mail_rows.add(session, mails)

    async def settle(self) -> Done:
        """Carry out all that was stored, and count what servers refused during runs.

        Raises:
            DatabaseError: it is away; what is left is carried out by the next call.
        """
        with database_errors(self._database):
            return await self._settle_all()

    async def _settle_all(self) -> Done:
        done = Done()
        place: tuple[datetime, UUID] | None = None
        while True:
            async with self._database.read() as session:
                mails = await mail_rows.unsettled(session, after=place, limit=PAGE)
                leaving = [mail for mail in mails if mail.report.kind is ReportKind.UNSUBSCRIBE]
                about = [mail for mail in mails if mail.report.kind is not ReportKind.UNSUBSCRIBE]
                asked = await self._whom(session, leaving)
                found = await match(session, [mail.report for mail in about], self._signer)
            if leaving:
                await self._let_go(leaving, asked, done)
            if about:
                await self._settle(about, found, done)
            if mails:
                place = mails[-1].received_at, mails[-1].id
            if len(mails) < PAGE:
                break
        refused, suppressed = await take_refusals(self._database)
        done.refused += refused
        done.suppressed += suppressed
        async with self._database.write() as session:
            await mail_rows.drop_old_bodies(session)
        return done

    async def _whom(
        self, session: AsyncSession, mails: Sequence[StoredMail]
    ) -> Sequence[mail_leaving.Asked]:
        reports = [mail.report for mail in mails]
        return await mail_leaving.whom(session, reports, self._people, self._signer)

    async def _let_go(
        self, mails: Sequence[StoredMail], asked: Sequence[mail_leaving.Asked], done: Done
    ) -> None:
        """Opt out whom mails are about that ask for it."""
        async with self._database.write() as session:
            owned = await mail_rows.own(session, [mail.id for mail in mails])
            pairs = [
                (mail, one) for mail, one in zip(mails, asked, strict=True) if mail.id in owned
            ]
            await _list(
                session, {mail.id: why for mail, why in pairs if isinstance(why, str)}, done
            )
            people = {mail.id: one for mail, one in pairs if not isinstance(one, str)}
            await mail_rows.change(
                session, {key: mail_leaving.columns(one) for key, one in people.items()}
            )
            done.kinds.update([ReportKind.UNSUBSCRIBE.value] * len(people))
            done.suppressed += await mail_leaving.carry_out(session, people.values())

    async def _settle(
        self, mails: Sequence[StoredMail], found: Sequence[Found], done: Done
    ) -> None:
        matched = [
            (mail, to) for mail, to in zip(mails, found, strict=True) if isinstance(to, Match)
        ]
        effects = await self._tell(matched)
        async with self._database.write() as session:
            owned = await mail_rows.own(session, [mail.id for mail in mails])
            notes = {
                mail.id: why
                for mail, why in zip(mails, found, strict=True)
                if mail.id in owned and isinstance(why, str)
            }
            await _list(session, notes, done)
            cases = [
                _Case(mail, to, effects.get(mail.id)) for mail, to in matched if mail.id in owned
            ]
            await _wait(session, [case for case in cases if case.effect is Effect.EARLY], done)
            await _close(session, [case for case in cases if case.effect is not Effect.EARLY], done)

    async def _tell(self, matched: Sequence[tuple[StoredMail, Match]]) -> Mapping[UUID, Effect]:
        """Tell the ledger; the effect by mail."""
        told = [
            (mail.id, evidence)
            for mail, to in matched
            if (evidence := _evidence(mail.report, to)) is not None
        ]
        effects = await self._ledger.evidence([evidence for _, evidence in told])
        return {key: effect for (key, _), effect in zip(told, effects, strict=True)}


def _evidence(report: MailReport, to: Match) -> Evidence | None:
    """What a report tells of its message; None where its state stays."""
    decisive = report.decisive
    state: MessageState | None = None
    outcome = Outcome(
        kind=OutcomeKind.REJECTED,
        code=decisive.code or decisive.status,
        enhanced=decisive.status,
        text=decisive.diagnostic,
        failure_class=decisive.failure_class,
    )
    match report.kind:
        case ReportKind.BOUNCE:
            state = MessageState.BOUNCED
        case ReportKind.COMPLAINT:
            state = MessageState.COMPLAINED
            words = f"complaint: {report.feedback_type}"
            outcome = Outcome(kind=OutcomeKind.ACCEPTED, text=words)
        case ReportKind.DELIVERED if decisive.action == DELIVERED_ACTIONS[0]:
            state = MessageState.DELIVERED
            words = f"delivered, says {decisive.remote_mta or report.reporting_mta}"
            outcome = Outcome(kind=OutcomeKind.ACCEPTED, enhanced=decisive.status, text=words)
        case _:
            return None
    return Evidence(message_id=MessageId(to.message_id), state=state, outcome=outcome)


async def _close(session: AsyncSession, cases: Sequence[_Case], done: Done) -> None:
    """Write down what became of matched mails, and what follows for their addresses."""
    known = await _told_before(session, {case.found.message_id for case in cases})
    returned: list[Returned] = []
    events: list[Announcement] = []
    await mail_rows.change(session, {case.mail.id: _columns(case) for case in cases})
    for case in cases:
        kind = case.mail.report.kind
        done.kinds[kind.value] += 1
        news = (case.found.message_id, kind.value)
        weighs = _weighs(kind, case.mail.report.decisive.is_hard, case.found.by)
        if news in known and (known[news] or not weighs):
            continue  # the same by another mail
        if kind is ReportKind.COMPLAINT and news not in known:
            events.append(_complained(case))
        known[news] = weighs
        returned.append(_returned(case))
    done.suppressed += await judge_addresses(session, returned)
    await announce(session, events)


def _weighs(kind: ReportKind, is_hard: bool, by: MatchedBy) -> bool:
    """Whether one such report is enough against an address, whatever weaker ones came before."""
    return by is not MatchedBy.RECIPIENT and (is_hard or kind is ReportKind.COMPLAINT)


async def _told_before(session: AsyncSession, keys: set[UUID]) -> dict[tuple[UUID, str], bool]:
    """What was told of these messages, and whether a report that weighs was among it."""
    rows = mail_rows.REPORTS.c
    statement = select(rows.message_id, rows.kind, rows.is_hard, rows.matched_by).where(
        rows.message_id.in_(sorted(keys)),
        rows.state == RowState.SETTLED.value,
        rows.matched_by != MatchedBy.LEDGER.value,
    )
    told: dict[tuple[UUID, str], bool] = {}
    for row in await (await session.connection()).execute(statement):
        weighs = _weighs(ReportKind(row.kind), row.is_hard, MatchedBy(row.matched_by))
        news = (row.message_id, row.kind)
        told[news] = told.get(news, False) or weighs
    return told


async def _wait(session: AsyncSession, cases: Sequence[_Case], done: Done) -> None:
    """Leave for later what came before its message was through; not for ever."""
    since = datetime.now(UTC) - PATIENCE
    late = [case.mail.id for case in cases if case.mail.received_at < since]
    rest = [case.mail.id for case in cases if case.mail.received_at >= since]
    await _list(session, dict.fromkeys(late, "its message never went out"), done)
    await mail_rows.change(session, {key: {"state": RowState.WAITING.value} for key in rest})
    done.waiting += len(rest)


async def _list(session: AsyncSession, notes: Mapping[UUID, str], done: Done) -> None:
    """Leave mails for a person to look at, each with the reason."""
    await mail_rows.change(session, {key: mail_rows.unmatched(why) for key, why in notes.items()})
    done.unmatched += len(notes)


def _columns(case: _Case) -> dict[str, object]:
    return mail_rows.settled(
        by=case.found.by,
        tenant_id=case.found.tenant_id,
        message_id=case.found.message_id,
        address=case.found.address,
    )


def _returned(case: _Case) -> Returned:
    decisive = case.mail.report.decisive
    return Returned(
        tenant_id=case.found.tenant_id,
        address=case.found.address,
        kind=case.mail.report.kind,
        failure_class=decisive.failure_class,
        status=decisive.status,
        is_hard=decisive.is_hard,
        by=case.found.by,
    )


def _complained(case: _Case) -> Announcement:
    return Announcement(
        tenant_id=case.found.tenant_id,
        name=EventName.RECIPIENT_COMPLAINED,
        subject=f"message:{case.found.message_id}",
        payload={
            "message_id": str(case.found.message_id),
            "channel": "email",
            "feedback_type": case.mail.report.feedback_type,
            "matched_by": case.found.by.value,
        },
        private={"address": case.found.address},
    )


def summary(done: Done) -> str:
    """What was made of mails, in one line."""
    told = [f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(done.kinds.items())]
    told += [
        f"{count} {what}"
        for count, what in (
            (done.unmatched, "unmatched"),
            (done.waiting, "waiting for their message"),
            (done.refused, "refused during runs"),
            (done.suppressed, "addresses suppressed"),
        )
        if count
    ]
    return ", ".join(told) or "nothing new"
