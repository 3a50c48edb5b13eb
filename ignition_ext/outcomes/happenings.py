"""Announces what other tables tell of: runs that began and ended, and changes on the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ignition_ext.database import Database, database_now
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.outcomes.tables import AUDIT, CAMPAIGNS, CURSORS, HEADS, RUNS, TENANTS
from ignition_ext.values import RunState

AT_ONCE = 500
"""Rows that one transaction announces."""
ENDS = {
    RunState.COMPLETED: EventName.CAMPAIGN_COMPLETED,
    RunState.FAILED: EventName.CAMPAIGN_FAILED,
    RunState.CANCELLED: EventName.CAMPAIGN_CANCELLED,
    RunState.SKIPPED: EventName.CAMPAIGN_SKIPPED,
}
NOT_CONFIGURATION = frozenset({"run", "recipient", "preference", "suppression", "message", "audit"})
"""Beginnings of actions on the audit log that have events of their own, or are no setting."""


async def announce_runs(database: Database) -> int:
    """Announce runs that began or ended, to webhooks alone; returns how many rows that were.

    Prefect has its events of campaigns from the runs themselves.
    """
    unknown = RUNS.c.announced_as != RUNS.c.state
    async with database.read() as session:
        first = select(RUNS.c.id).where(unknown).limit(1)
        if (await (await session.connection()).execute(first)).first() is None:
            return 0
    async with database.write() as session:
        connection = await session.connection()
        query = (
            select(
                RUNS,
                CAMPAIGNS.c.name.label("campaign"),
                TENANTS.c.name.label("tenant"),
            )
            .join(CAMPAIGNS, CAMPAIGNS.c.id == RUNS.c.campaign_id)
            .join(TENANTS, TENANTS.c.id == RUNS.c.tenant_id)
            .where(unknown)
            .order_by(RUNS.c.id)
            .limit(AT_ONCE)
            .with_for_update(skip_locked=True, of=RUNS)
        )
        found = (await connection.execute(query)).all()
        now = await database_now(session)
        events = [event for row in found for event in _of_run(row)]
        await announce(session, events, prefect_knows_since=now)
        for row in found:
            await connection.execute(
                update(RUNS).where(RUNS.c.id == row.id).values(announced_as=row.state)
            )
    return len(found)


def _of_run(row: Row[Any]) -> list[Announcement]:
    names = []
    if not row.announced_as and row.state != RunState.SKIPPED:
        names.append(EventName.CAMPAIGN_STARTED)
    end = ENDS.get(RunState(row.state))
    if end is not None:
        names.append(end)
    payload: Mapping[str, Any] = {
        "campaign": f"{row.tenant}/{row.campaign}",
        "run_id": str(row.id),
        "flow_run_id": None if row.flow_run_id is None else str(row.flow_run_id),
        "channel": row.channel,
        "lead_run_id": None if row.lead_run_id is None else str(row.lead_run_id),
        "reason": row.state_reason,
        "counts": row.counts,
    }
    return [
        Announcement(tenant_id=row.tenant_id, name=name, subject=f"run:{row.id}", payload=payload)
        for name in names
    ]


async def announce_changes(database: Database) -> int:
    """Announce changes of the configuration that the audit log holds; returns rows that were read.

    Within a tenant the log's numbers rise without gaps in the order of commits: one number says
    how far it was read.
    """
    async with database.read() as session:
        behind = await _behind(await session.connection())
    total = 0
    for tenant_id, tenant in behind.items():
        total += await _announce_changes(database, tenant_id, tenant)
    return total


async def _behind(connection: AsyncConnection) -> dict[int, str]:
    """The tenants whose log goes on beyond what was read, with their names."""
    read = {
        name: position.get("seq", 0)
        for name, position in await connection.execute(
            select(CURSORS.c.name, CURSORS.c.position).where(CURSORS.c.name.startswith("audit:"))
        )
    }
    heads = await connection.execute(
        select(HEADS.c.tenant_id, HEADS.c.seq, TENANTS.c.name).join(
            TENANTS, TENANTS.c.id == HEADS.c.tenant_id
        )
    )
    return {
        tenant_id: name for tenant_id, seq, name in heads if seq > read.get(f"audit:{tenant_id}", 0)
    }


async def _announce_changes(database: Database, tenant_id: int, tenant: str) -> int:
    name = f"audit:{tenant_id}"
    async with database.write() as session:
        connection = await session.connection()
        now = await database_now(session)
        held = select(CURSORS.c.position).where(CURSORS.c.name == name)
        found = (await connection.execute(held)).scalar_one_or_none()
        if found is None:
            # Of two that come first one waits here, and finds the other's row.
            await connection.execute(
                _insert_new(connection).values(name=name, position={"seq": 0}, moved_at=now)
            )
        locked = held.with_for_update()
        position: int = (await connection.execute(locked)).scalar_one()["seq"]
        query = (
            select(AUDIT)
            .where(AUDIT.c.tenant_id == tenant_id, AUDIT.c.seq > position)
            .order_by(AUDIT.c.seq)
            .limit(AT_ONCE)
        )
        rows = (await connection.execute(query)).all()
        if not rows:
            return 0
        await announce(session, [_of_change(row, tenant) for row in rows if _is_setting(row)])
        await connection.execute(
            update(CURSORS)
            .where(CURSORS.c.name == name)
            .values(position={"seq": rows[-1].seq}, moved_at=now)
        )
    return len(rows)


def _insert_new(connection: AsyncConnection) -> Any:
    kind = postgresql if connection.dialect.name == "postgresql" else sqlite
    return kind.insert(CURSORS).on_conflict_do_nothing()


def _is_setting(row: Row[Any]) -> bool:
    return str(row.action).partition(".")[0] not in NOT_CONFIGURATION


def _of_change(row: Row[Any], tenant: str) -> Announcement:
    changed = sorted({*(row.before or {}), *(row.after or {})})
    return Announcement(
        tenant_id=row.tenant_id,
        name=EventName.CONFIGURATION_CHANGED,
        subject=row.subject,
        payload={
            "tenant": tenant,
            "action": row.action,
            "actor": row.actor,
            "seq": row.seq,
            "fields": changed,
        },
    )
