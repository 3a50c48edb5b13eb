"""Waiting for work that others hold: until it is free, done, or the operator says otherwise."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from sqlmodel import col, select

from ignition_ext.database import Database, database_now
from ignition_ext.ledger.contract import Ledger
from ignition_ext.models import MessageDue
from ignition_ext.values import RunRef, RunState

_NOTHING = timedelta(seconds=1)
"""The lease of a claim that claims nothing."""


async def wait_for_work(
    database: Database,
    ledger: Ledger,
    run: RunRef,
    state: RunState,
    *,
    longest: timedelta,
    look_every: float,
) -> None:
    """Return as soon as another claim may find something, or nothing is left to wait for.

    Each look settles leases that have lapsed, so that a dead sender's share is taken over as
    soon as it may be.

    Args:
        database: Ignition's.
        ledger: of the same database.
        run: that others work on.
        state: what the operator asked of it when last seen.
        longest: return then at the latest.
        look_every: seconds between two looks.
    """
    end = time.monotonic() + longest.total_seconds()
    while time.monotonic() < end:
        await asyncio.sleep(look_every)
        look = await ledger.claim(run, limit=0, lease=_NOTHING)
        if look.run_state is not state or look.lapses_at is None:
            return
        if await count_due(database, run, most=1):
            return


async def count_due(database: Database, run: RunRef, *, most: int) -> int:
    """How many messages of the run could be claimed now, counted no further than ``most``."""
    async with database.read() as session:
        now = await database_now(session)
        query = (
            select(MessageDue.id)
            .where(col(MessageDue.run_id) == run.id, col(MessageDue.not_before) <= now)
            .limit(most)
        )
        return len((await session.exec(query)).all())
