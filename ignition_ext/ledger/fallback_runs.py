"""Runs whose emails fall back to text messages: since when, how long, and how many did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Table, and_, exists, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database, database_now
from ignition_ext.ledger.fallback import MARGIN, TAKES_NONE
from ignition_ext.ledger.fallback_wave import Wave
from ignition_ext.ledger.legs import open_companion
from ignition_ext.ledger.opening import open_ledger
from ignition_ext.models import (
    CampaignRun,
    FallbackRun,
    MessageDue,
    MessageEvent,
)
from ignition_ext.models.message import UNDELIVERED
from ignition_ext.values import Channel, FallbackCause, Guarantee, RunId, RunRef, RunState, TenantId

FELL_BACK = "run.fell-back"
_FALLBACKS: Table = SQLModel.metadata.tables[str(FallbackRun.__tablename__)]
_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]
_EVENTS: Table = SQLModel.metadata.tables[str(MessageEvent.__tablename__)]
_DUE: Table = SQLModel.metadata.tables[str(MessageDue.__tablename__)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack:
    """What a search came to.

    Attributes:
        moved: emails instead of which a text message goes from now on, by the class of their last
            refusal, or by their end where no server refused them.
        added: new text messages; fewer, where recipients share a number.
        companion: the run of the text messages, None while there is none.
        is_over: nothing more of this run falls back.
    """

    moved: Mapping[str, int]
    added: int = 0
    companion: RunRef | None = None
    is_over: bool = False

    @property
    def total(self) -> int:
        """Emails that fell back."""
        return sum(self.moved.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a campaign says of emails that do not get through.

    Attributes:
        causes: the ends of an email that fall back.
        within: how long after the run's end they count.
        guarantee: of the text messages.
        runs_for: text messages that are not sent so long after the run began expire; None: none.
    """

    causes: Collection[FallbackCause]
    within: timedelta
    guarantee: Guarantee
    runs_for: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A run whose emails fall back, as it stands.

    Attributes:
        name: the flow run's.
        state: the run's.
        ended_at: when it ended; None while it goes on.
        terms: the campaign's.
        closed_at: when it was looked through for good; None: it was not.
        has_changes: some message of the run did not get through since it was looked through.
        companion: the run of the text messages; None while there is none.
        is_stranded: that has ended, and got more to send in its last moment.
    """

    lead: RunRef
    name: str
    state: RunState
    ended_at: datetime | None
    terms: Terms
    closed_at: datetime | None
    has_changes: bool
    companion: RunRef | None
    is_stranded: bool

    @property
    def until(self) -> datetime | None:
        """Changes of later times do not count any more; None while the run goes on."""
        goes_on = self.state in (RunState.OPEN, RunState.PAUSED)
        return None if goes_on or self.ended_at is None else self.ended_at + self.terms.within

    def is_over(self, now: datetime) -> bool:
        """Whether nothing that happens from now on counts."""
        if self.state in TAKES_NONE:
            return True
        return self.until is not None and self.until < now - MARGIN


async def begin_fallback(database: Database, lead: RunRef, terms: Terms) -> None:
    """Let the run's emails fall back from now on; also of one that was over, and goes on."""
    async with database.write() as session:
        insert = postgresql_insert if database.dialect == "postgresql" else sqlite_insert
        statement = insert(_FALLBACKS).values(
            run_id=lead.id,
            tenant_id=lead.tenant_id,
            causes=sorted(cause.value for cause in terms.causes),
            within_seconds=int(terms.within.total_seconds()),
            sms_guarantee=terms.guarantee.value,
            sms_seconds=None if terms.runs_for is None else int(terms.runs_for.total_seconds()),
            seen_at=lead.run_at - MARGIN,
            created_at=await database_now(session),
        )
        await (await session.connection()).execute(
            statement.on_conflict_do_update(index_elements=["run_id"], set_={"closed_at": None})
        )


async def find_fallback(session: AsyncSession, run_id: UUID) -> Fallback | None:
    """How a run stands whose emails fall back; None for any other."""
    query = _QUERY.where(_FALLBACKS.c.run_id == run_id)
    row = (await (await session.connection()).execute(query)).first()
    return None if row is None else _fallback(row)


async def open_fallbacks(session: AsyncSession) -> Sequence[Fallback]:
    """Runs of which something is to be looked at, the oldest first.

    Asks the index of each for one change since it was looked through, not its messages.
    """
    query = _QUERY.where(_FALLBACKS.c.closed_at.is_(None)).order_by(_FALLBACKS.c.run_id)
    rows = await (await session.connection()).execute(query)
    now = await database_now(session)
    found = [_fallback(row) for row in rows]
    return [
        one
        for one in found
        if one.state is not RunState.PAUSED
        and (one.has_changes or one.is_stranded or one.is_over(now))
    ]


async def let_fall_back(database: Database, one: Fallback, *, actor: str) -> FellBack:
    """Look through what has changed in a run since the last time, a page a transaction.

    Several at once do it one after the other; whoever is killed in the middle has lost nothing.

    Args:
        database: Ignition's.
        one: the run, as it was read.
        actor: for the audit log.
    """
    ledger = open_ledger(database)
    async with database.read() as session:
        closes = one.is_over(await database_now(session))
    moved: Counter[str] = Counter()
    added, companion, horizon, begin = 0, one.companion, None, None
    while one.state not in TAKES_NONE:
        wave = Wave(lead=one.lead, companion=companion, causes=one.terms.causes, until=one.until)
        page = await ledger.fall_back(wave, begin)
        if page is None:
            break
        horizon = horizon or page.horizon
        if page.wants_companion:
            companion = await open_companion(
                database,
                one.lead,
                Channel.SMS,
                actor=actor,
                guarantee=one.terms.guarantee,
                runs_for=one.terms.runs_for,
                is_whole=True,
            )
            if companion is None:
                break  # cancelled meanwhile
        moved.update(page.moved)
        added += page.added
        if page.end is None:
            break
        begin = page.end
    await ledger.note_fallback(one.lead, horizon or one.lead.run_at, closes=closes)
    if moved:
        await _note(database, one, moved, added, actor)
    return FellBack(moved=moved, added=added, companion=companion, is_over=closes)


async def _note(
    database: Database, one: Fallback, moved: Mapping[str, int], added: int, actor: str
) -> None:
    async with database.write() as session:
        await audit.record(
            session,
            tenant_id=one.lead.tenant_id,
            actor=actor,
            action=FELL_BACK,
            subject=f"run:{one.lead.id}",
            after={"emails": dict(moved), "text_messages": added},
        )


def _query() -> Select[Any]:
    leg = _RUNS.alias("leg")
    changed = exists().where(
        _EVENTS.c.run_at == _RUNS.c.run_at, _EVENTS.c.at >= _FALLBACKS.c.seen_at, UNDELIVERED
    )
    unsent = exists().where(_DUE.c.run_id == leg.c.id)
    return (
        select(
            _FALLBACKS,
            _RUNS.c.run_at,
            _RUNS.c.flow_run_name,
            _RUNS.c.state,
            _RUNS.c.ended_at,
            leg.c.id.label("companion_id"),
            changed.label("has_changes"),
            and_(leg.c.state == RunState.COMPLETED.value, unsent).label("is_stranded"),
        )
        .join(_RUNS, _RUNS.c.id == _FALLBACKS.c.run_id)
        .outerjoin(leg, and_(leg.c.lead_run_id == _RUNS.c.id, leg.c.channel == Channel.SMS.value))
    )


_QUERY = _query()


def _fallback(row: Row[Any]) -> Fallback:
    lead = RunRef(id=RunId(row.run_id), run_at=row.run_at, tenant_id=TenantId(row.tenant_id))
    key = row.companion_id
    return Fallback(
        lead=lead,
        name=row.flow_run_name or str(row.run_id),
        state=RunState(row.state),
        ended_at=row.ended_at,
        terms=Terms(
            causes=frozenset(map(FallbackCause, row.causes)),
            within=timedelta(seconds=row.within_seconds),
            guarantee=Guarantee(row.sms_guarantee),
            runs_for=None if row.sms_seconds is None else timedelta(seconds=row.sms_seconds),
        ),
        closed_at=row.closed_at,
        has_changes=bool(row.has_changes),
        companion=None if key is None else replace(lead, id=RunId(key)),
        is_stranded=bool(row.is_stranded),
    )
