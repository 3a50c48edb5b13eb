"""What ``ignition doctor`` says of webhooks: those in trouble, and whether anyone sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.cli.context import ask
from ignition_ext.database import database_now
from ignition_ext.health.check import Check, failed, hint, passed
from ignition_ext.models.outcome import EndpointState
from ignition_ext.outcomes.tables import CURSORS, ENDPOINTS, TENANTS
from ignition_ext.settings import Settings

LATE = timedelta(minutes=10)
"""The flow that tells outcomes runs each minute; a busy worker may pass some over."""


async def check_webhooks(settings: Settings) -> list[Check]:
    """The webhooks of all tenants; nothing is asked of them here."""
    found = await ask(settings, _read)
    return [] if found is None else list(_checks(*found))


async def _read(session: AsyncSession) -> tuple[Sequence[Row[Any]], datetime, datetime]:
    """The webhooks, when anything was last told, and the time."""
    connection = await session.connection()
    query = (
        select(ENDPOINTS, TENANTS.c.name.label("tenant"))
        .join(TENANTS, TENANTS.c.id == ENDPOINTS.c.tenant_id)
        .where(ENDPOINTS.c.deleted_at.is_(None))
        .order_by(TENANTS.c.name, ENDPOINTS.c.created_at)
    )
    rows = (await connection.execute(query)).all()
    moved = select(CURSORS.c.moved_at).where(CURSORS.c.name == "messages")
    told_at = (await connection.execute(moved)).scalar_one()
    return rows, told_at, await database_now(session)


def _checks(rows: Sequence[Row[Any]], told_at: datetime, now: datetime) -> Iterator[Check]:
    if rows and now - told_at > LATE:
        yield failed(
            "outcomes",
            f"nobody has told webhooks what happened since {told_at:%Y-%m-%d %H:%M} UTC.",
            "Run in a clone: prefect deploy --all, and start a worker for the pool default; or run:"
            " ignition outcomes relay",
        )
    wrong = [check for row in rows if (check := _check(row)) is not None]
    yield from wrong
    if not wrong:
        yield passed("webhooks", f"{len(rows)} webhooks, none is in trouble")


def _check(row: Row[Any]) -> Check | None:
    name = f"webhook {row.tenant} {row.url}"
    if row.state == EndpointState.DISABLED:
        return hint(
            name,
            f"switched off{': ' if row.reason else ''}{row.reason}",
            f"When it is mended, run: ignition webhook enable {row.id} --tenant {row.tenant}",
        )
    if row.failures:
        return hint(
            name,
            f"failed {row.failures} times in a row since {row.failing_since:%Y-%m-%d %H:%M} UTC",
            f"Run: ignition webhook deliveries {row.id} --tenant {row.tenant}",
        )
    return None
