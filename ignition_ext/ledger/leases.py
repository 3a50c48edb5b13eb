"""What senders hold: claimed, renewed, given back, lapsed. Each function is one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import uuid4

from ignition_ext.ledger import rules
from ignition_ext.ledger.contract import ClaimedMessage, Lease
from ignition_ext.ledger.rows import Change, HeldLease
from ignition_ext.ledger.wishes import Terms, admit, read_terms
from ignition_ext.ledger.work import Work
from ignition_ext.values import LeaseId, MessageState, RunRef, RunState

ClaimSome = Callable[[int], Awaitable[tuple[list[ClaimedMessage], int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim, and what is to be done after it.

    Attributes:
        goes_on: so many were suppressed, and nobody claimed, that this transaction should end
            and another one go on.
        is_overdue: the run's deadline has passed.
    """

    lease: Lease
    goes_on: bool = False
    is_overdue: bool = False


async def claim(work: Work, run: RunRef, limit: int, duration: timedelta, chunk: int) -> Claimed:
    """Recover what lapsed, and lease what is due."""
    lease_id = LeaseId(uuid4())
    row = await work.run("share_run", run)
    while await recover_one(work, run) is not None:
        pass
    messages: list[ClaimedMessage] = []
    goes_on = False
    if row.state is RunState.OPEN and not row.is_overdue:
        terms = await read_terms(work, run) if row.has_terms else None
        claim_some = partial(_claim_some, work, run, lease_id, terms)
        messages, goes_on = await _claim_due(claim_some, limit, chunk)
    if messages:
        await work.fetch(
            "add_lease",
            lease_id=lease_id,
            run_id=run.id,
            run_at=run.run_at,
            tenant_id=run.tenant_id,
            lease=duration,
            ids=[message.id for message in messages],
        )
    next_at, lapses_at = await work.next_times(run, lease_id)
    lease = Lease(
        id=lease_id,
        messages=messages,
        next_at=None if row.is_overdue else next_at,
        lapses_at=lapses_at,
        run_state=row.state,
    )
    return Claimed(lease=lease, goes_on=goes_on, is_overdue=row.is_overdue)


async def _claim_some(
    work: Work, run: RunRef, lease_id: LeaseId, terms: Terms | None, limit: int
) -> tuple[list[ClaimedMessage], int]:
    """Claim what is due and may be sent; returns it, and how many were due."""
    claimed, due = await work.claim_due(run, lease_id, limit)
    if terms is not None and claimed:
        claimed = await admit(work, run, lease_id, claimed, terms)
    return claimed, due


async def _claim_due(
    claim_some: ClaimSome, limit: int, chunk: int
) -> tuple[list[ClaimedMessage], bool]:
    """Claim until the batch is full or nothing is due: suppressed ones leave room for others."""
    messages: list[ClaimedMessage] = []
    seen = 0
    while (wanted := limit - len(messages)) > 0:
        claimed, due = await claim_some(wanted)
        messages += claimed
        seen += due
        if due < wanted:
            break
        if seen >= max(limit, chunk):
            return messages, not messages
    return messages, False


async def renew(work: Work, run: RunRef, lease_id: LeaseId, duration: timedelta) -> RunState:
    """Move the end of a lease."""
    await work.fetch("renew", lease_id=lease_id, run_at=run.run_at, lease=duration)
    return (await work.run("read_run", run)).state


async def release(work: Work, run: RunRef, lease_id: LeaseId) -> int:
    """Give back what is claimed; the lease ends unless something of it is on the wire."""
    lease = await work.lock_lease("lock_lease", lease_id=lease_id, run_at=run.run_at)
    if lease is None:
        return 0
    held = await work.lock_held(lease)
    claimed = [row for row in held if row.state is MessageState.CLAIMED]
    await work.apply(
        [
            Change(
                held=row,
                steps=(MessageState.PENDING,),
                attempts=row.attempts,
                note="the sender returned it",
            )
            for row in claimed
        ]
    )
    if len(claimed) == len(held):
        await drop(work, lease)
    return len(claimed)


async def recover_one(work: Work, run: RunRef | None) -> list[Change] | None:
    """Settle what a lapsed lease holds, of this run or of any; None when none has lapsed."""
    lease = await work.lock_lease("lock_lapsed_lease", run_id=None if run is None else run.id)
    if lease is None:
        return None
    changes = [rules.lapsed(row) for row in await work.lock_held(lease)]
    await work.apply(changes)
    await drop(work, lease)
    return changes


async def drop(work: Work, lease: HeldLease) -> None:
    """End a lease that holds nothing any more."""
    await work.fetch("drop_lease", lease_id=lease.id, run_at=lease.run_at)
