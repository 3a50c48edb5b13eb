"""The second channel of a run: a run of its own beside the one that leads it.

A campaign with two channels has two legs, each with its rows, its claims and its flow run. Here is
what ties them: a lead has one companion a channel, whoever opens it and how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, exists, func, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import aliased
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database, database_now
from ignition_ext.errors import ConflictError
from ignition_ext.ledger.contract import Ledger
from ignition_ext.ledger.rows import clean
from ignition_ext.ledger.run_rows import NAME_LENGTH, numbers, required_run, run_ref
from ignition_ext.models import CampaignRun
from ignition_ext.values import (
    CRASHED,
    UNDER_WAY,
    Channel,
    Guarantee,
    MessageState,
    RunRef,
    RunState,
    new_id,
)

_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]
REASON_LENGTH = 2000
_ASKED: Mapping[RunState, Sequence[RunState]] = {
    RunState.PAUSED: (RunState.OPEN,),
    RunState.OPEN: (RunState.PAUSED,),
    RunState.CANCELLED: (RunState.OPEN, RunState.PAUSED),
}
"""What is asked of a lead, and of which companions it then holds."""


async def open_companion(
    database: Database,
    lead: RunRef,
    channel: Channel,
    *,
    actor: str,
    guarantee: Guarantee | None = None,
    runs_for: timedelta | None = None,
    is_whole: bool = False,
) -> RunRef | None:
    """The lead's run on that channel, opened with the first call; nobody begins it by that.

    Several at once get the same one. It takes over from its lead whatever is not given, is paused
    where that is, and its messages live in the same partition.

    Args:
        database: Ignition's.
        lead: the run that leads.
        channel: of the companion's messages.
        actor: for the audit log.
        guarantee: the lead's when None.
        runs_for: what is not sent so long after the lead was opened expires; None for never.
        is_whole: nothing more is added by a snapshot.

    Returns:
        None where the lead was cancelled, or skipped, and has no companion.
    """
    async with database.write() as session:
        return await ensure_companion(
            session,
            lead,
            channel,
            actor=actor,
            guarantee=guarantee,
            runs_for=runs_for,
            is_whole=is_whole,
        )


async def ensure_companion(
    session: AsyncSession,
    lead: RunRef,
    channel: Channel,
    *,
    actor: str,
    guarantee: Guarantee | None = None,
    runs_for: timedelta | None = None,
    is_whole: bool = False,
) -> RunRef | None:
    """The same within a transaction of ``Database.write()``, which keeps the lead locked."""
    leading = await required_run(session, lead.id)
    known = await companion_of(session, lead.id, channel)
    if known is not None:
        return run_ref(known)
    if leading.state in (RunState.CANCELLED, RunState.SKIPPED):
        return None
    now = await database_now(session)
    paused = leading.state == RunState.PAUSED
    row = CampaignRun(
        id=new_id(),
        tenant_id=leading.tenant_id,
        campaign_id=leading.campaign_id,
        campaign_version=leading.campaign_version,
        template_version_id=leading.template_version_id,
        run_at=leading.run_at,
        state=(RunState.PAUSED if paused else RunState.OPEN).value,
        state_reason=leading.state_reason if paused else "",
        guarantee=leading.guarantee if guarantee is None else guarantee.value,
        max_messages=leading.max_messages,
        deadline=None if runs_for is None else leading.run_at + runs_for,
        snapshot_at=now if is_whole else None,
        flow_run_name=leg_name(leading.flow_run_name, channel),
        created_at=now,
        channel=channel.value,
        lead_run_id=leading.id,
    )
    postgres = session.get_bind().dialect.name == "postgresql"
    statement = (postgresql_insert if postgres else sqlite_insert)(_RUNS)
    await (await session.connection()).execute(
        statement.values(**row.model_dump()).on_conflict_do_nothing()
    )
    await audit.record(
        session,
        tenant_id=row.tenant_id,
        actor=actor,
        action="run.leg-opened",
        subject=f"run:{row.id}",
        after={"lead_run_id": str(leading.id), "channel": channel.value, "state": row.state},
    )
    return run_ref(row)


def leg_name(name: str, channel: Channel) -> str:
    """What a companion's flow run is called, beside its lead's."""
    suffix = f" {channel}"
    return clean(name, NAME_LENGTH - len(suffix)) + suffix


async def companion_of(
    session: AsyncSession, lead_id: UUID, channel: Channel
) -> CampaignRun | None:
    """The lead's run on that channel, None where there is none yet."""
    query = select(CampaignRun).where(
        col(CampaignRun.lead_run_id) == lead_id, col(CampaignRun.channel) == channel.value
    )
    return (await session.exec(query.execution_options(populate_existing=True))).one_or_none()


async def companions_of(session: AsyncSession, lead_id: UUID) -> Sequence[CampaignRun]:
    """All runs that this one leads."""
    query = select(CampaignRun).where(col(CampaignRun.lead_run_id) == lead_id)
    return list(await session.exec(query.order_by(col(CampaignRun.channel))))


async def other_leg(session: AsyncSession, run: CampaignRun) -> CampaignRun | None:
    """The run on the campaign's other channel, None where there is none."""
    if run.lead_run_id is not None:
        return await session.get(CampaignRun, run.lead_run_id)
    return next(iter(await companions_of(session, run.id)), None)


async def steer_companions(
    session: AsyncSession, lead_id: UUID, state: RunState, *, reason: str, actor: str
) -> None:
    """Let what an operator asks of a lead hold for its companions that have not ended."""
    held_for = _ASKED[state]
    for leg in await companions_of(session, lead_id):
        before = RunState(leg.state)
        if before not in held_for:
            continue
        changed = await (await session.connection()).execute(
            update(_RUNS)
            .where(_RUNS.c.id == leg.id, _RUNS.c.version == leg.version)
            .values(
                state=state.value,
                state_reason=clean(reason, REASON_LENGTH),
                version=leg.version + 1,
            )
            .returning(_RUNS.c.id)
        )
        if changed.first() is None:
            raise ConflictError(
                f"run {leg.id} was changed by someone else.", mend="Look at it and try again."
            )
        await audit.record(
            session,
            tenant_id=leg.tenant_id,
            actor=actor,
            action=f"run.{'resumed' if state is RunState.OPEN else state.value}",
            subject=f"run:{leg.id}",
            before={"state": before.value},
            after={"state": state.value, "reason": reason, "lead_run_id": str(lead_id)},
        )


async def account_for_companions(database: Database, ledger: Ledger, lead: RunRef) -> int:
    """End what was not sent of the companions that were cancelled with their lead.

    Their own end is their flow runs' to note, which come and see that they were cancelled: a run
    that has an end is opened again when its flow run comes back.

    Returns:
        How many messages were not sent.
    """
    async with database.read() as session:
        legs = [leg for leg in await companions_of(session, lead.id) if leg.ended_at is None]
    cancelled = 0
    for leg in legs:
        if leg.state == RunState.CANCELLED:
            ref = run_ref(leg)
            cancelled += await ledger.cancel_open(ref, MessageState.CANCELLED)
            await _note_counts(database, ref, await ledger.counts(ref))
    return cancelled


async def _note_counts(database: Database, leg: RunRef, counts: Mapping[MessageState, int]) -> None:
    async with database.write() as session:
        row = await required_run(session, leg.id)
        values: dict[str, Any] = {"counts": numbers(counts)}
        if row.flow_run_id is None:
            values["ended_at"] = await database_now(session)
        await (await session.connection()).execute(
            update(_RUNS).where(_RUNS.c.id == leg.id).values(**values)
        )


async def set_flow_run(
    database: Database, leg: RunRef, flow_run_id: UUID, *, instead_of: UUID | None = None
) -> bool:
    """Note which flow run works on a companion; False where it has got another one meanwhile.

    Args:
        database: Ignition's.
        leg: the companion.
        flow_run_id: works on it from now on.
        instead_of: the one that Prefect has no more; None where it had none.
    """
    async with database.write() as session:
        changed = await (await session.connection()).execute(
            update(_RUNS)
            .where(
                _RUNS.c.id == leg.id,
                _RUNS.c.flow_run_id.is_not_distinct_from(instead_of)
                | (_RUNS.c.flow_run_id == flow_run_id),
            )
            .values(flow_run_id=flow_run_id)
            .returning(_RUNS.c.id)
        )
        return changed.first() is not None


async def unstarted_legs(session: AsyncSession, *, limit: int) -> Sequence[CampaignRun]:
    """Companions with their audience that no flow run works on, oldest first."""
    query = (
        select(CampaignRun)
        .where(
            col(CampaignRun.lead_run_id).is_not(None),
            col(CampaignRun.flow_run_id).is_(None),
            col(CampaignRun.snapshot_at).is_not(None),
            col(CampaignRun.state).in_(UNDER_WAY),
        )
        .order_by(col(CampaignRun.created_at))
        .limit(limit)
    )
    return list(await session.exec(query))


async def legs_of_others(
    session: AsyncSession, *, campaign_id: int, flow_run_id: UUID
) -> Sequence[CampaignRun]:
    """Companions of the campaign that go on, but for those of this flow run's own run.

    A crashed one is in nobody's way, it may never come back, nor is an abandoned one.
    """
    lead = aliased(CampaignRun)
    query = (
        select(CampaignRun)
        .join(lead, col(lead.id) == col(CampaignRun.lead_run_id))
        .where(
            CampaignRun.campaign_id == campaign_id,
            col(CampaignRun.state).in_(UNDER_WAY),
            col(CampaignRun.prefect_state) != CRASHED,
            ~abandoned(CampaignRun),
            col(lead.flow_run_id).is_distinct_from(flow_run_id),
        )
    )
    return list(await session.exec(query))


async def legs_alone(session: AsyncSession, *, tenant_id: int) -> int:
    """How many of a tenant's companions go on whose leads have ended."""
    lead = aliased(CampaignRun)
    query = (
        select(func.count())
        .select_from(CampaignRun)
        .join(lead, col(lead.id) == col(CampaignRun.lead_run_id))
        .where(
            CampaignRun.tenant_id == tenant_id,
            col(CampaignRun.state).in_(UNDER_WAY),
            col(CampaignRun.prefect_state) != CRASHED,
            ~abandoned(CampaignRun),
            col(lead.state).not_in(UNDER_WAY),
        )
    )
    return int((await session.exec(query)).one())


async def cancelled_legs(session: AsyncSession, *, limit: int) -> Sequence[CampaignRun]:
    """Companions that were cancelled, and whose flow run may not know it yet."""
    query = (
        select(CampaignRun)
        .where(
            col(CampaignRun.lead_run_id).is_not(None),
            col(CampaignRun.flow_run_id).is_not(None),
            col(CampaignRun.ended_at).is_(None),
            col(CampaignRun.state) == RunState.CANCELLED.value,
        )
        .limit(limit)
    )
    return list(await session.exec(query))


def is_under_way(run: CampaignRun) -> bool:
    """Whether the run has neither ended nor been cancelled."""
    return run.state in UNDER_WAY


def abandoned(leg: type[CampaignRun]) -> ColumnElement[bool]:
    """Whether the lead failed, or was lost, before the companion had its audience.

    Nobody begins such a companion. It stays open, for a retry of the lead completes it, and until
    then nothing waits for it.
    """
    lead = aliased(CampaignRun)
    gone = col(lead.state).not_in(UNDER_WAY) | (col(lead.prefect_state) == CRASHED)
    return and_(
        col(leg.flow_run_id).is_(None),
        col(leg.snapshot_at).is_(None),
        exists().where(col(lead.id) == col(leg.lead_run_id), gone),
    )


def is_abandoned(leg: CampaignRun, lead: CampaignRun) -> bool:
    """The same of rows that were read."""
    gone = not is_under_way(lead) or lead.prefect_state == CRASHED
    return leg.flow_run_id is None and leg.snapshot_at is None and gone
