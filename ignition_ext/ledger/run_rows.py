"""Reads and locks rows of runs."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import database_now as database_now
from ignition_ext.errors import NotFoundError
from ignition_ext.models import CampaignRun
from ignition_ext.values import RunId, RunRef, TenantId


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
