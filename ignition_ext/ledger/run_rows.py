"""Adds, reads and locks rows of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import database_now as database_now
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.ledger.rows import clean
from ignition_ext.models import CampaignRun
from ignition_ext.values import Channel, Guarantee, MessageState, RunId, RunRef, TenantId, new_id

_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]
NAME_LENGTH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a flow run asks for; ``deadline`` counts from the first opening, by the database.

    ``time_limit`` begins anew when the run is opened again. ``leg`` is the companion that the flow
    run works on, which was opened before; None for a run that leads.
    """

    tenant_id: int
    campaign_id: int
    campaign_version: int
    template_version_id: int | None = None
    guarantee: Guarantee = Guarantee.AT_MOST_ONCE
    max_messages: int | None = None
    deadline: timedelta | None = None
    time_limit: timedelta | None = None
    flow_run_id: UUID | None = None
    flow_run_name: str = ""
    scheduled_at: datetime | None = None
    channel: Channel | None = None
    leg: UUID | None = None


def run_ref(row: CampaignRun) -> RunRef:
    """What the ledger needs to know of a run's row."""
    return RunRef(id=RunId(row.id), run_at=row.run_at, tenant_id=TenantId(row.tenant_id))


async def locked_run(session: AsyncSession, condition: ColumnElement[bool]) -> CampaignRun | None:
    """The run, locked until the transaction ends, as it stands now."""
    query = (
        select(CampaignRun)
        .where(condition)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.exec(query)).one_or_none()


async def read_run(session: AsyncSession, run_id: UUID) -> CampaignRun:
    """The run, not locked: its ``version`` says whether it changed meanwhile."""
    row = await session.get(CampaignRun, run_id)
    if row is None:
        raise NotFoundError(
            f"there is no run {run_id}.", mend="Run: ignition campaign status TENANT/NAME"
        )
    return row


async def required_run(session: AsyncSession, run_id: UUID) -> CampaignRun:
    """The run, locked until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    row = await locked_run(session, col(CampaignRun.id) == run_id)
    if row is None:
        raise NotFoundError(
            f"there is no run {run_id}.", mend="Run: ignition campaign status TENANT/NAME"
        )
    return row


def ends_by(request: RunRequest, now: datetime) -> datetime | None:
    """When a run that is opened now is over its time limit; None without one."""
    return None if request.time_limit is None else now + request.time_limit


async def requested_run(session: AsyncSession, request: RunRequest) -> CampaignRun | None:
    """The row, locked until the transaction ends.

    Raises:
        NotFoundError: the companion that it asks for is not there.
    """
    if request.leg is not None:
        leg = await required_run(session, request.leg)
        _require_leg(leg, request)
        return leg
    if request.flow_run_id is not None:
        row = await locked_run(session, col(CampaignRun.flow_run_id) == request.flow_run_id)
        if row is not None:
            return row
    if request.scheduled_at is None:
        return None
    return await locked_run(
        session,
        (col(CampaignRun.campaign_id) == request.campaign_id)
        & (col(CampaignRun.scheduled_at) == request.scheduled_at),
    )


def _require_leg(row: CampaignRun, request: RunRequest) -> None:
    """Raise unless the run is a companion that this flow run may work on."""
    if row.lead_run_id is None or row.campaign_id != request.campaign_id:
        raise NotFoundError(
            f"the run {row.id} is no second channel of that campaign.",
            mend="Leave the parameter leg empty: a run makes the flow run of its companion itself.",
        )
    if row.flow_run_id not in (None, request.flow_run_id):
        raise ConflictError(
            f"the run {row.id} has the flow run {row.flow_run_id}.",
            mend="Retry that one in Prefect: it sends what is still sendable.",
        )


async def insert_run(
    session: AsyncSession, request: RunRequest, now: datetime, **ending: Any
) -> tuple[CampaignRun, bool]:
    """Add the row, or find what another added at the same time; returns whether it is ours.

    On PostgreSQL this waits for one that is being added.

    Args:
        session: of ``Database.write()``.
        request: what the row says.
        now: the database's time.
        ending: columns of a run that ends as it begins.
    """
    run_id = new_id()
    postgres = session.get_bind().dialect.name == "postgresql"
    statement = (postgresql_insert if postgres else sqlite_insert)(_RUNS)
    values = CampaignRun(
        id=run_id,
        tenant_id=request.tenant_id,
        campaign_id=request.campaign_id,
        campaign_version=request.campaign_version,
        template_version_id=request.template_version_id,
        run_at=now,
        guarantee=request.guarantee.value,
        max_messages=request.max_messages,
        deadline=None if request.deadline is None else now + request.deadline,
        ends_by=ends_by(request, now),
        flow_run_id=request.flow_run_id,
        flow_run_name=clean(request.flow_run_name, NAME_LENGTH),
        scheduled_at=request.scheduled_at,
        channel=request.channel.value if request.channel is not None else "",
        created_at=now,
        **ending,
    ).model_dump()
    result = await (await session.connection()).execute(
        statement.values(**values).on_conflict_do_nothing().returning(_RUNS.c.id)
    )
    added = result.first() is not None
    row = await locked_run(session, col(CampaignRun.id) == run_id)
    row = row or await requested_run(session, request)
    if row is None:
        raise ConflictError("the run was removed while it was opened.", mend="Try again.")
    return row, added


def numbers(counts: Mapping[MessageState, int]) -> dict[str, int]:
    """A run's messages by state, and ``total``, as its row keeps them."""
    by_state = {MessageState(state).value: count for state, count in counts.items()}
    return by_state | {"total": sum(by_state.values())}


def described(row: CampaignRun) -> dict[str, Any]:
    """What the audit log says of a new run."""
    return {
        "campaign_id": row.campaign_id,
        "campaign_version": row.campaign_version,
        "flow_run_id": str(row.flow_run_id) if row.flow_run_id else None,
        "scheduled_at": row.scheduled_at.isoformat() if row.scheduled_at else None,
    }
