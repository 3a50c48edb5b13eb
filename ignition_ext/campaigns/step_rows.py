"""Runs in steps, in the database: how far they are, and when the next step begins.

The row is taken from the campaign when its run begins. Who changes it locks the run's row first,
as claims and operators do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, func, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.campaigns.definition import DeliverySpec
from ignition_ext.campaigns.steps import (
    DEFAULT_WAIT,
    parse_step,
    step_targets,
    untried,
)
from ignition_ext.database import Database, database_now
from ignition_ext.ledger.contract import Ledger
from ignition_ext.ledger.run_rows import required_run
from ignition_ext.models import Message, MessageHeld, RunSteps
from ignition_ext.values import MessageState, RunRef, RunState

STEPPER = "ignition"
"""Who lets a step begin or stops a run, in the audit log: nobody did."""
_STEPS: Table = SQLModel.metadata.tables[str(RunSteps.__tablename__)]


async def begin_steps(database: Database, run: RunRef, delivery: DeliverySpec) -> bool:
    """Write down how the run goes out, once; returns whether its messages are to be held.

    A run that has begun keeps what it began with, whatever the campaign says now.
    """
    async with database.write() as session:
        row = await session.get(RunSteps, run.id)
        if row is None and (delivery.ramp or delivery.stop_if) and await _is_empty(session, run):
            postgres = session.get_bind().dialect.name == "postgresql"
            insert = (postgresql_insert if postgres else sqlite_insert)(_STEPS)
            document = delivery.model_dump(mode="json", exclude_none=True)
            values = RunSteps(
                run_id=run.id,
                tenant_id=run.tenant_id,
                ramp=document["ramp"],
                wait_seconds=(delivery.ramp_wait or DEFAULT_WAIT).total_seconds(),
                stop_if=document.get("stop_if", {}),
                targets=[],
                base={},
                stop={},
            ).model_dump()
            await (await session.connection()).execute(
                insert.values(**values).on_conflict_do_nothing()
            )
            return bool(delivery.ramp)
        return row is not None and bool(row.ramp)


async def _is_empty(session: AsyncSession, run: RunRef) -> bool:
    query = select(Message.id).where(col(Message.run_id) == run.id).limit(1)
    return (await session.exec(query)).first() is None


async def read_steps(database: Database, run_id: UUID) -> RunSteps | None:
    """How the run stands in its steps; None where it has none."""
    async with database.read() as session:
        return await session.get(RunSteps, run_id)


async def advance(
    database: Database, ledger: Ledger, run: RunRef, counts: Mapping[MessageState, int]
) -> RunSteps | None:
    """Begin the run's next step when it is time, or finish beginning one; how it stands then.

    Args:
        database: Ignition's.
        ledger: of the same database.
        run: whose snapshot is whole.
        counts: its messages by state, exact.
    """
    steps = await _planned(database, run, sum(counts.values()))
    if steps is None or not steps.targets:
        return steps
    if _is_whole(steps):
        if steps.step == len(steps.targets):
            return steps
        if not await _is_time(database, steps, counts):
            return await read_steps(database, run.id)
        if not await _begin_next(database, run, steps):
            return await read_steps(database, run.id)
        steps = await read_steps(database, run.id)
        assert steps is not None
    await ledger.release_held(run, upto=steps.targets[steps.step - 1])
    return await read_steps(database, run.id)


def _is_whole(steps: RunSteps) -> bool:
    """Whether all of the steps begun was let go: a crash may have come between."""
    return steps.released >= (steps.targets[steps.step - 1] if steps.step else 0)


async def _planned(database: Database, run: RunRef, total: int) -> RunSteps | None:
    """The row with its targets, which are known when the audience is."""
    steps = await read_steps(database, run.id)
    if steps is None or not steps.ramp or steps.targets or not total:
        return steps
    targets = step_targets([parse_step(step) for step in steps.ramp], total)
    await _set(database, run, targets=list(targets))
    return await read_steps(database, run.id)


async def _is_time(database: Database, steps: RunSteps, counts: Mapping[MessageState, int]) -> bool:
    """Whether the next step may begin; sets the time once the last one has been tried."""
    if steps.step == 0:
        return True
    async with database.write() as session:
        now = await database_now(session)
        if steps.next_at is not None:
            return steps.next_at <= now
        query = select(func.count()).where(col(MessageHeld.run_id) == steps.run_id)
        if untried(counts, (await session.exec(query)).one()):
            return False
        await (await session.connection()).execute(
            update(_STEPS)
            .where(_STEPS.c.run_id == steps.run_id, _STEPS.c.step == steps.step)
            .values(next_at=now + timedelta(seconds=steps.wait_seconds))
        )
    return False


async def _begin_next(database: Database, run: RunRef, seen: RunSteps) -> bool:
    """Count the next step as begun; False where another did, or the run may not send."""
    async with database.write() as session:
        row = await required_run(session, run.id)
        if row.state != RunState.OPEN:
            return False
        changed = await (await session.connection()).execute(
            update(_STEPS)
            .where(_STEPS.c.run_id == run.id, _STEPS.c.step == seen.step)
            .values(step=seen.step + 1, next_at=None)
            .returning(_STEPS.c.run_id)
        )
        if changed.first() is None:
            return False
        await audit.record(
            session,
            tenant_id=row.tenant_id,
            actor=STEPPER,
            action="run.step-begun",
            subject=f"run:{run.id}",
            after={
                "step": seen.step + 1,
                "of": len(seen.targets),
                "messages": seen.targets[seen.step],
            },
        )
    return True


async def _set(database: Database, run: RunRef, **values: Any) -> None:
    async with database.write() as session:
        await (await session.connection()).execute(
            update(_STEPS).where(_STEPS.c.run_id == run.id).values(**values)
        )
