"""What ends or revives many messages at once: cancel, expiry, redrive, a chunk a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from ignition_ext.ledger.leases import drop
from ignition_ext.ledger.rows import DETAIL_LENGTH, WAITING, Change, Held, clean
from ignition_ext.ledger.work import Work
from ignition_ext.values import FailureClass, LeaseId, MessageState, RunRef


async def stop_waiting(work: Work, run: RunRef, state: MessageState, limit: int) -> int:
    """End some that are pending or deferred; returns how many."""
    ids = [
        work.uuid(key) for (key,) in await work.fetch("lock_waiting", run_id=run.id, limit=limit)
    ]
    if not ids:
        return 0
    held = [row for row in await work.lock("lock_ids", ids=ids) if row.state in WAITING]
    await work.apply(stopped(held, state))
    return len(held)


async def stop_claimed(work: Work, run: RunRef, state: MessageState, lease_id: LeaseId) -> int:
    """End what a lease holds and has not put on the wire; returns how many."""
    lease = await work.lock_lease("lock_lease", lease_id=lease_id, run_at=run.run_at)
    if lease is None:
        return 0
    held = await work.lock_held(lease)
    claimed = [row for row in held if row.state is MessageState.CLAIMED]
    await work.apply(stopped(claimed, state))
    if len(claimed) == len(held):
        await drop(work, lease)
    return len(claimed)


def stopped(held: Sequence[Held], state: MessageState) -> list[Change]:
    """The changes that end locked messages."""
    return [Change(held=row, steps=(state,), attempts=row.attempts) for row in held]


async def read_failed(
    work: Work,
    run: RunRef,
    failure_class: FailureClass | None,
    after: tuple[str, str],
    limit: int,
) -> list[tuple[UUID, str, str]]:
    """A page of a run's failed messages, of one class or of all: id, channel, address."""
    rows = await work.fetch(
        "read_failed",
        run_id=run.id,
        channel=after[0],
        address=after[1],
        failure_class=None if failure_class is None else failure_class.value,
        limit=limit,
    )
    return [(work.uuid(key), channel, address) for key, channel, address in rows]


async def revive(work: Work, ids: Sequence[UUID], actor: str) -> int:
    """Make failed messages pending again, due at once; returns how many still were failed.

    Attempts begin anew: the operator mended the reason, and a message that had used all of them
    up would fail again at its first refusal. Its events keep what came before.
    """
    held = await work.lock("lock_ids", ids=ids) if ids else []
    changes = [
        Change(
            held=row,
            steps=(MessageState.PENDING,),
            attempts=0,
            note=clean(f"redriven by {actor}", DETAIL_LENGTH),
            delay=timedelta(0),
        )
        for row in held
        if row.state is MessageState.FAILED
    ]
    await work.apply(changes)
    return len(changes)
