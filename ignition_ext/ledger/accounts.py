"""The ledger over SQL: what both databases do in the same order, each step in its transaction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from ignition_ext.database import Database
from ignition_ext.errors import NotFoundError
from ignition_ext.ledger import rules, segments
from ignition_ext.ledger.contract import (
    ClaimedMessage,
    Lease,
    Ledger,
    NewMessage,
    Recovered,
    RetryPolicy,
    SmsReceipt,
    SnapshotResult,
)
from ignition_ext.ledger.rows import Change, RunRow
from ignition_ext.ledger.work import Work
from ignition_ext.values import (
    Delivery,
    LeaseId,
    MessageId,
    MessageState,
    OutcomeKind,
    RunRef,
    RunState,
)

CHUNK = 2000
"""Rows changed in one transaction when many are: small enough that a sender waiting for SQLite's
only write lock, or for a row, waits for milliseconds."""


class SqlLedger(Ledger):
    """Both databases' ledger; a subclass says how a transaction begins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @abstractmethod
    def begin(self) -> AbstractAsyncContextManager[Work]:
        """A transaction that writes: committed at the end, rolled back on any error."""

    @abstractmethod
    def look(self) -> AbstractAsyncContextManager[Work]:
        """A connection that only reads."""

    async def snapshot(
        self, run: RunRef, batches: AsyncIterator[Sequence[NewMessage]]
    ) -> SnapshotResult:
        added = known = 0
        if await self._has_snapshot(run):
            async with self.look() as work:
                ((known,),) = await work.fetch("count_run", run_id=run.id, run_at=run.run_at)
            return SnapshotResult(added=0, known=known)
        async for batch in batches:
            new, goes_on = await self._add(run, batch)
            added += new
            if not goes_on:
                break
            known += len(batch) - new
        return SnapshotResult(added=added, known=known)

    async def _has_snapshot(self, run: RunRef) -> bool:
        async with self.look() as work:
            return _found(await work.run("read_run", run.id), run).has_snapshot

    async def _add(self, run: RunRef, batch: Sequence[NewMessage]) -> tuple[int, bool]:
        """Add a batch under the run's lock; returns how many, and whether more may follow."""
        async with self.begin() as work:
            row = _found(await work.run("lock_run", run.id), run)
            if row.has_snapshot or row.state not in (RunState.OPEN, RunState.PAUSED):
                return 0, False
            room = None
            if row.max_messages is not None:
                ((count,),) = await work.fetch("count_run", run_id=run.id, run_at=run.run_at)
                room = max(row.max_messages - count, 0)
            added = await work.add_messages(run, batch, room) if batch and room != 0 else 0
            return added, room is None or added < room

    async def finish_snapshot(
        self, run: RunRef, *, skipped: int, rejected: int, duplicates: int
    ) -> None:
        async with self.begin() as work:
            await work.fetch(
                "finish_snapshot",
                run_id=run.id,
                skipped=skipped,
                rejected=rejected,
                duplicates=duplicates,
            )

    async def claim(self, run: RunRef, *, limit: int, lease: timedelta) -> Lease:
        # Where nothing but suppressed ones came, others have their turn between the transactions.
        while (claimed := await self._claim_once(run, limit, lease)) is None:
            pass
        return claimed

    async def _claim_once(self, run: RunRef, limit: int, lease: timedelta) -> Lease | None:
        lease_id = LeaseId(uuid4())
        async with self.begin() as work:
            row = _found(await work.run("share_run", run.id), run)
            await _recover(work, run)
            messages: list[ClaimedMessage] = []
            has_more = False
            if row.state is RunState.OPEN and not row.is_overdue:
                messages, has_more = await _claim(work, run, lease_id, lease, limit)
            next_at, lapses_at = await work.next_times(run, lease_id)
        if has_more:
            return None
        if row.is_overdue:
            await self.cancel_open(run, MessageState.EXPIRED)
            next_at = None
        return Lease(
            id=lease_id,
            messages=messages,
            next_at=next_at,
            lapses_at=lapses_at,
            run_state=row.state,
        )

    async def renew(self, run: RunRef, lease: LeaseId, duration: timedelta) -> RunState:
        async with self.begin() as work:
            await work.renew(run, lease, duration)
            return _found(await work.run("read_run", run.id), run).state

    async def intend(
        self, run: RunRef, lease: LeaseId, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        if not ids:
            return frozenset()
        async with self.begin() as work:
            return await work.intend(run, lease, ids)

    async def settle(
        self,
        run: RunRef,
        lease: LeaseId,
        deliveries: Sequence[Delivery],
        retry: RetryPolicy,
        *,
        bind: str = "",
    ) -> Mapping[MessageId, MessageState]:
        if not deliveries:
            return {}
        by_id = {delivery.message_id: delivery for delivery in deliveries}
        if len(by_id) != len(deliveries):
            raise ValueError("a message stands twice in one settle")
        has_parts = any(delivery.parts for delivery in deliveries)
        async with self.begin() as work:
            if has_parts:
                await work.share_bind(bind)
            held = await work.lock("lock_ids", ids=list(by_id))
            states = {MessageId(row.id): row.state for row in held}
            changes: list[Change] = []
            for row in held:
                delivery = by_id[MessageId(row.id)]
                change = rules.settled(row, delivery, retry, own=row.lease_id == lease)
                if change is not None:
                    changes.append(change)
                    states[MessageId(row.id)] = change.state
            await work.apply(changes)
            if has_parts:
                stored = [delivery for delivery in deliveries if _keeps_parts(delivery)]
                rows = {row.id: row for row in held}
                states.update(await segments.store(work, run, bind, stored, rows))
            return states

    async def release(self, run: RunRef, lease: LeaseId) -> int:
        async with self.begin() as work:
            held = await work.lock("lock_leased", run_id=run.id, lease_id=lease)
            await work.apply(
                [
                    Change(
                        held=row,
                        steps=(MessageState.PENDING,),
                        attempts=row.attempts,
                        note="the sender returned it",
                    )
                    for row in held
                ]
            )
            return len(held)

    async def recover(self, run: RunRef | None = None) -> Recovered:
        pending = uncertain = 0
        if run is None:
            async with self.look() as work:
                runs = await work.lapsed_runs()
        else:
            runs = [run]
        for one in runs:
            done = CHUNK
            while done == CHUNK:
                async with self.begin() as work:
                    changes = await _recover(work, one)
                done = len(changes)
                became = [change.state for change in changes]
                pending += became.count(MessageState.PENDING)
                uncertain += became.count(MessageState.UNCERTAIN)
        return Recovered(pending=pending, uncertain=uncertain)

    async def counts(self, run: RunRef) -> Mapping[MessageState, int]:
        async with self.look() as work:
            rows = await work.fetch("count_states", run_id=run.id)
        return dict.fromkeys(MessageState, 0) | {MessageState(state): n for state, n in rows}

    async def failures(self, run: RunRef) -> Mapping[str, int]:
        async with self.look() as work:
            rows = await work.fetch("count_failures", run_id=run.id)
        return {str(name): int(count) for name, count in rows}

    async def cancel_open(self, run: RunRef, state: MessageState) -> int:
        if state not in (MessageState.CANCELLED, MessageState.EXPIRED):
            raise ValueError(f"open messages become cancelled or expired, not {state}")
        total, done = 0, CHUNK
        while done == CHUNK:
            async with self.begin() as work:
                held = await work.lock("lock_open", run_id=run.id, limit=CHUNK)
                await work.apply(
                    [Change(held=row, steps=(state,), attempts=row.attempts) for row in held]
                )
            done = len(held)
            total += done
        return total

    async def receive(self, receipts: Sequence[SmsReceipt]) -> int:
        if not receipts:
            return 0
        async with self.begin() as work:
            return await segments.receive(work, receipts)

    async def messages(
        self,
        run_id: UUID,
        *,
        states: Sequence[MessageState] = (),
        batch: int = 1000,
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        channel = address = ""
        while True:
            async with self.look() as work:
                rows = await work.fetch(
                    "list_messages",
                    run_id=run_id,
                    channel=channel,
                    address=address,
                    states=[state.value for state in states],
                    limit=batch,
                )
                page = [_listed(work, row) for row in rows]
            if page:
                yield page
            if len(page) < batch:
                return
            channel, address = rows[-1][1], rows[-1][2]


async def _claim(
    work: Work, run: RunRef, lease_id: LeaseId, duration: timedelta, limit: int
) -> tuple[list[ClaimedMessage], bool]:
    """Claim until the batch is full or nothing is due: suppressed ones leave room for others.

    Returns:
        The messages, and whether there are none only because so many were suppressed that the
        transaction should end first.
    """
    messages: list[ClaimedMessage] = []
    seen = 0
    while (wanted := limit - len(messages)) > 0:
        claimed, due = await work.claim_due(run, lease_id, duration, wanted)
        messages += claimed
        seen += due
        if due < wanted:
            break
        if seen >= max(limit, CHUNK):
            return messages, not messages
    return messages, False


async def _recover(work: Work, run: RunRef) -> list[Change]:
    held = await work.lock("lock_lapsed", run_id=run.id, limit=CHUNK)
    changes = [rules.lapsed(row) for row in held]
    await work.apply(changes)
    return changes


def _found(row: RunRow | None, run: RunRef) -> RunRow:
    if row is None:
        raise NotFoundError(
            f"there is no run {run.id}.", mend="Run: ignition campaign status TENANT/NAME"
        )
    return row


def _keeps_parts(delivery: Delivery) -> bool:
    """Segments are kept once something went out; where nothing did, the next attempt makes them."""
    gone = (OutcomeKind.ACCEPTED, OutcomeKind.REJECTED, OutcomeKind.UNCERTAIN)
    return any(part.outcome.kind in gone for part in delivery.parts)


def _listed(work: Work, row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "message_id": work.uuid(row[0]),
        "channel": row[1],
        "address": row[2],
        "state": row[3],
        "attempts": row[4],
        "code": row[5],
        "enhanced": row[6],
        "failure_class": row[7],
        "detail": row[8],
        "provider_id": row[9],
        "parts": row[10],
        "sent_at": None if row[11] is None else work.time(row[11]),
        "updated_at": work.time(row[12]),
    }
