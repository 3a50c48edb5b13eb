"""Runs that had a reason not to send: kept and counted like all others, without a message."""

from __future__ import annotations

from datetime import datetime

from ignition_ext import audit
from ignition_ext.database import Database
from ignition_ext.ledger.rows import clean
from ignition_ext.ledger.run_rows import (
    RunRequest,
    database_now,
    described,
    insert_run,
    requested_run,
)
from ignition_ext.models import CampaignRun
from ignition_ext.values import MessageState, RunState

_REASON_LENGTH = 2000


async def skip_run(
    database: Database,
    request: RunRequest,
    *,
    reason: str,
    actor: str,
    started_at: datetime | None = None,
    prefect_state: str = "",
) -> CampaignRun:
    """Write that this run was skipped and why; the same again changes nothing.

    A run that stands there already, of this flow run or for this scheduled time, stays as it is:
    what was sent before is not made undone by a reason found later.
    """
    async with database.write() as session:
        row = await requested_run(session, request)
        if row is not None:
            return row
        now = await database_now(session)
        row, added = await insert_run(
            session,
            request,
            now,
            state=RunState.SKIPPED.value,
            state_reason=clean(reason, _REASON_LENGTH),
            prefect_state=prefect_state,
            prefect_attempts=1,
            started_at=started_at or now,
            ended_at=now,
            counts={state.value: 0 for state in MessageState} | {"total": 0},
        )
        if added:
            await audit.record(
                session,
                tenant_id=row.tenant_id,
                actor=actor,
                action="run.skipped",
                subject=f"run:{row.id}",
                after={"state": row.state, "reason": row.state_reason} | described(row),
            )
        return row
