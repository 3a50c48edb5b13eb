"""Messages that a run's steps have not come to: held back where no claim sees them.

A claim reads ``message_due`` alone, so a step's bound holds for any number of senders, and a run
without steps pays nothing. Each function is one transaction.
"""

from __future__ import annotations

from uuid import UUID

from ignition_ext.ledger.endings import stopped
from ignition_ext.ledger.rows import WAITING
from ignition_ext.ledger.work import Work
from ignition_ext.values import MessageState, RunRef, RunState


async def hold(work: Work, run: RunRef) -> None:
    """Take all that the run has to send out of the claims' sight; in the snapshot's transaction.

    Each message draws its place once: a step takes the lowest ones, whatever the order of the
    audience was.
    """
    await work.fetch("hold", run_id=run.id)
    await work.fetch("unqueue", run_id=run.id)


async def release(work: Work, run: RunRef, upto: int, limit: int) -> int:
    """Let some more be claimed, so that at most ``upto`` of the run ever were; returns how many.

    None in a run that is not open, is past its deadline, or has not taken its whole audience.
    """
    row = await work.run("lock_run", run)
    if row.state is not RunState.OPEN or row.is_overdue or not row.has_snapshot:
        return 0
    ((released,),) = await work.fetch("read_released", run_id=run.id)
    wanted = min(upto - released, limit)
    if wanted <= 0:
        return 0
    ids = await _take(work, run, wanted)
    if ids:
        await work.fetch("queue_held", ids=ids, run_at=run.run_at)
        await work.fetch("note_released", run_id=run.id, released=released + len(ids))
    return len(ids)


async def stop(work: Work, run: RunRef, state: MessageState, limit: int) -> int:
    """End some that are held; returns how many. Nobody lets any go in a run that is over."""
    await work.run("lock_run", run)
    ids = await _take(work, run, limit)
    if not ids:
        return 0
    held = [row for row in await work.lock("lock_ids", ids=ids) if row.state in WAITING]
    await work.apply(stopped(held, state))
    return len(ids)


async def _take(work: Work, run: RunRef, limit: int) -> list[UUID]:
    rows = await work.fetch("find_held", run_id=run.id, limit=limit)
    if rows:
        await work.fetch("drop_held", run_id=run.id, limit=limit)
    return [work.uuid(key) for (key,) in rows]
