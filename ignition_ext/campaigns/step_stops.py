"""Runs that stop by themselves, in the database: when, why, and what an operator decided.

Who changes a run's row locks it first, as claims and operators do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Table, func, update
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.campaigns.step_rows import STEPPER, read_steps
from ignition_ext.campaigns.steps import RATES, Exceeded, Figures, StopSpec, exceeded
from ignition_ext.database import Database, database_now
from ignition_ext.errors import ConflictError
from ignition_ext.ledger.contract import Ledger
from ignition_ext.ledger.rows import clean
from ignition_ext.ledger.run_rows import required_run
from ignition_ext.models import Campaign, CampaignRun, Message, RunSteps, Tenant
from ignition_ext.outcomes.outbox import JSON, Announcement, EventName, announce
from ignition_ext.values import OPEN_STATES, MessageState, RunRef, RunState

NOTE_LENGTH = 1000
MOST_DOMAINS = 10
"""Domains that a stop names: enough to see whether it is one of them, no list of people."""
_STEPS: Table = SQLModel.metadata.tables[str(RunSteps.__tablename__)]
_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]
_REASON_LENGTH = 2000


class DecisionKind(StrEnum):
    """What an operator can say to a run that stopped."""

    CONTINUE = "continue"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an operator said to a run that stopped.

    Attributes:
        note: why, for the audit log.
        keep_watching: whether it stops again at the same rates.
    """

    kind: DecisionKind
    note: str = ""
    keep_watching: bool = True


def is_stopped(steps: RunSteps | None, state: str) -> bool:
    """Whether a run waits for a decision: one that was cancelled meanwhile does not."""
    return steps is not None and steps.stopped_at is not None and state == RunState.PAUSED


def reached(steps: RunSteps, counts: Mapping[MessageState, int]) -> list[Exceeded]:
    """The rates that a run has reached; none where nothing is left to stop, or nobody watches."""
    if not steps.stop_if or not steps.is_watched:
        return []
    if not any(counts.get(state, 0) for state in OPEN_STATES):
        return []
    stop_if = StopSpec.model_validate(steps.stop_if)
    figures = Figures.of(counts).since(Figures.read(steps.base))
    return exceeded(stop_if, stop_if.judged_from(steps.targets), figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatus:
    """How far a run in steps is, for people and programs.

    Attributes:
        step: that was begun last, from 1; 0 before the first.
        of: steps in all; 0 for a run that only stops when too much goes wrong.
        released: messages that the steps begun have let go.
        targets: messages that are out after each step.
        next_at: when the next step begins; None while it is not known.
        stopped_at: since when it waits for a decision; None while it does not.
        reason: why it stopped last; empty if it never did.
        is_watched: whether it stops (again) by itself.
    """

    step: int
    of: int
    released: int
    targets: Sequence[int]
    next_at: datetime | None
    stopped_at: datetime | None
    reason: str
    is_watched: bool


def step_status(steps: RunSteps | None, state: str) -> StepStatus | None:
    """The same from the run's row and the run's state; None without a row."""
    if steps is None:
        return None
    is_waiting = is_stopped(steps, state)
    goes_on = state == RunState.OPEN and steps.step < len(steps.targets)
    return StepStatus(
        step=steps.step,
        of=len(steps.targets) or len(steps.ramp),
        released=steps.released,
        targets=steps.targets,
        next_at=steps.next_at if goes_on else None,
        stopped_at=steps.stopped_at if is_waiting else None,
        reason=str(steps.stop.get("reason", "")),
        is_watched=bool(steps.stop_if) and steps.is_watched,
    )


async def judge(
    database: Database, ledger: Ledger, run: RunRef, counts: Mapping[MessageState, int]
) -> RunSteps | None:
    """Stop an open run whose rates are reached, once; the row of one that stopped now.

    Args:
        database: Ignition's.
        ledger: of the same database.
        run: any.
        counts: of a moment ago; they are counted anew before anything is stopped.
    """
    steps = await read_steps(database, run.id)
    if steps is None or not reached(steps, counts):
        return None
    counts = await ledger.counts(run)
    found = reached(steps, counts)
    if not found:
        return None
    stop: dict[str, JSON] = {
        "rates": [
            {"name": one.name, "count": one.count, "tried": one.tried, "limit": one.limit_text}
            for one in found
        ],
        "counts": {state.value: count for state, count in counts.items() if count},
        "classes": dict(await ledger.failures(run)),
        "domains": await _domains(database, run),
        "step": steps.step,
        "steps": len(steps.targets),
    }
    return await _stop(database, run, "; ".join(map(str, found)), stop)


async def _stop(
    database: Database, run: RunRef, reason: str, stop: dict[str, JSON]
) -> RunSteps | None:
    async with database.write() as session:
        row = await required_run(session, run.id)
        if row.state != RunState.OPEN:
            return None  # an operator was quicker
        steps = await session.get_one(RunSteps, run.id, populate_existing=True)
        connection = await session.connection()
        await connection.execute(
            update(_RUNS)
            .where(_RUNS.c.id == run.id)
            .values(
                state=RunState.PAUSED.value,
                state_reason=clean(f"stopped: {reason}", _REASON_LENGTH),
                version=row.version + 1,
            )
        )
        await connection.execute(
            update(_STEPS)
            .where(_STEPS.c.run_id == run.id)
            .values(
                stopped_at=await database_now(session),
                stops=steps.stops + 1,
                stop={**stop, "reason": reason},
            )
        )
        await audit.record(
            session,
            tenant_id=row.tenant_id,
            actor=STEPPER,
            action="run.stopped",
            subject=f"run:{run.id}",
            before={"state": RunState.OPEN.value},
            after={"state": RunState.PAUSED.value, "reason": reason, **stop},
        )
        facts: dict[str, JSON] = {"reason": reason, **stop}
        await _announce(session, EventName.RUN_STOPPED, row, facts)
    return await read_steps(database, run.id)


async def keep_stopped(database: Database, run: RunRef, counts: Mapping[MessageState, int]) -> bool:
    """Stop a run again that was opened anew before its decision was carried out.

    A run that failed while it was stopped and is retried would else go on, whatever was said.
    Returns whether it had to.
    """
    if not any(counts.get(state, 0) for state in OPEN_STATES):
        return False
    async with database.write() as session:
        row = await required_run(session, run.id)
        steps = await session.get(RunSteps, run.id)
        if steps is None or steps.stopped_at is None or row.state != RunState.OPEN:
            return False
        reason = clean(f"stopped: {steps.stop.get('reason', '')}", _REASON_LENGTH)
        await (await session.connection()).execute(
            update(_RUNS)
            .where(_RUNS.c.id == run.id)
            .values(state=RunState.PAUSED.value, state_reason=reason, version=row.version + 1)
        )
        await audit.record(
            session,
            tenant_id=row.tenant_id,
            actor=STEPPER,
            action="run.paused",
            subject=f"run:{run.id}",
            before={"state": RunState.OPEN.value},
            after={"state": RunState.PAUSED.value, "reason": reason},
        )
    return True


async def announce_question(database: Database, run: CampaignRun, steps: RunSteps) -> None:
    """Tell webhooks and Prefect that somebody is asked to decide on the run."""
    async with database.write() as session:
        reason = str(steps.stop.get("reason", ""))
        await _announce(session, EventName.RUN_WAITING_FOR_APPROVAL, run, {"reason": reason})


async def _announce(
    session: AsyncSession, name: EventName, row: CampaignRun, facts: Mapping[str, JSON]
) -> None:
    query = (
        select(Tenant.name, Campaign.name)
        .join(Campaign, col(Campaign.tenant_id) == col(Tenant.id))
        .where(col(Campaign.id) == row.campaign_id)
    )
    tenant, campaign = (await session.exec(query)).one()
    payload: dict[str, JSON] = {
        "campaign": f"{tenant}/{campaign}",
        "run_id": str(row.id),
        "flow_run_id": str(row.flow_run_id) if row.flow_run_id else None,
        **facts,
    }
    told = Announcement(
        tenant_id=row.tenant_id, name=name, subject=f"campaign:{campaign}", payload=payload
    )
    await announce(session, [told])


async def _domains(database: Database, run: RunRef) -> dict[str, JSON]:
    """Domains (for SMS: countries' codes) of what went wrong, the most frequent first."""
    number = func.count()
    query = (
        select(Message.domain, number)
        .where(
            col(Message.run_id) == run.id,
            col(Message.run_at) == run.run_at,
            col(Message.state).in_(RATES),
        )
        .group_by(col(Message.domain))
        .order_by(number.desc(), col(Message.domain))
        .limit(MOST_DOMAINS)
    )
    async with database.read() as session:
        return {domain: int(count) for domain, count in await session.exec(query)}


async def decide(
    database: Database, ledger: Ledger, run: RunRef, decision: Decision, *, actor: str
) -> None:
    """Let a run that stopped go on, or write down that it shall not; whoever asks then ends it.

    From here on only what comes later is measured, so that it does not stop again over the same
    failures; the time that it stood still does not count against its time limit.

    Raises:
        ConflictError: it does not wait for a decision.
    """
    counts = await ledger.counts(run)
    async with database.write() as session:
        row = await required_run(session, run.id)
        steps = await session.get(RunSteps, run.id, populate_existing=True)
        if not is_stopped(steps, row.state):
            raise ConflictError(
                f"the run {run.id} does not wait for a decision: it is {row.state}.",
                mend="Look at it: ignition campaign status RUN",
            )
        assert steps is not None
        goes_on = decision.kind is DecisionKind.CONTINUE
        base = Figures.of(counts).document()
        if goes_on:
            await _go_on(session, row, steps, base, decision)
        await audit.record(
            session,
            tenant_id=row.tenant_id,
            actor=actor,
            action="run.approved" if goes_on else "run.rejected",
            subject=f"run:{run.id}",
            before={"state": row.state, "reason": row.state_reason},
            after={
                "decision": decision.kind.value,
                "note": clean(decision.note, NOTE_LENGTH),
                "keep_watching": decision.keep_watching,
                "judged": base,
            },
        )


async def _go_on(
    session: AsyncSession,
    row: CampaignRun,
    steps: RunSteps,
    base: dict[str, int],
    decision: Decision,
) -> None:
    assert steps.stopped_at is not None
    stood = await database_now(session) - steps.stopped_at
    connection = await session.connection()
    await connection.execute(
        update(_STEPS)
        .where(_STEPS.c.run_id == row.id)
        .values(stopped_at=None, base=base, is_watched=decision.keep_watching)
    )
    await connection.execute(
        update(_RUNS)
        .where(_RUNS.c.id == row.id)
        .values(
            state=RunState.OPEN.value,
            state_reason="",
            version=row.version + 1,
            ends_by=None if row.ends_by is None else row.ends_by + stood,
        )
    )
