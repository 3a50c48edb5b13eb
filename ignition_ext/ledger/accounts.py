"""The ledger over SQL: what both databases do in the same order, each step in its transaction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from ignition_ext import audit
from ignition_ext.database import Database
from ignition_ext.ledger import endings, fallback, held, leases, segments, settling, snapshots
from ignition_ext.ledger.accepted import Accepted, split
from ignition_ext.ledger.contract import (
    Effect,
    Evidence,
    Lease,
    Ledger,
    NewMessage,
    Recovered,
    RetryPolicy,
    SmsReceipt,
    SnapshotResult,
)
from ignition_ext.ledger.evidence import portions, show
from ignition_ext.ledger.fallback_wave import Page, Place, Wave
from ignition_ext.ledger.snapshots import prepare_ahead
from ignition_ext.ledger.work import NotHeldError, Prepared, Work
from ignition_ext.values import (
    Delivery,
    FailureClass,
    LeaseId,
    MessageId,
    MessageState,
    RunRef,
    RunState,
)

T = TypeVar("T")
Body: TypeAlias = Callable[[Work], Coroutine[Any, Any, T]]
CHUNK = 2000
"""Rows changed in one transaction when many are: small enough that a sender waiting for SQLite's
only write lock, or for a row, waits for milliseconds."""
NIL = UUID(int=0)
"""Before every key."""


class SqlLedger(Ledger):
    """Both databases' ledger; a subclass says how a transaction begins and ends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @abstractmethod
    async def transact(self, body: Body[T]) -> T:
        """What ``body`` returns, in a transaction that writes: rolled back on any error.

        Begun again where two such transactions got into each other's way.
        """

    @abstractmethod
    async def briefly(self, body: Body[T], *, rows: int, alone: bool) -> T:
        """The same for a body that changes so many rows, ``alone``: with one statement."""

    @abstractmethod
    def prepare(self, run: RunRef, batch: Sequence[NewMessage]) -> Prepared:
        """New messages of a run as the driver takes them."""

    @abstractmethod
    async def look(self, body: Body[T]) -> T:
        """What ``body`` returns, which only reads."""

    async def snapshot(
        self,
        run: RunRef,
        batches: AsyncIterator[Sequence[NewMessage]],
        *,
        is_held: bool = False,
    ) -> SnapshotResult:
        added = known = 0
        if await self.look(partial(snapshots.is_whole, run=run)):
            known = await self.look(partial(snapshots.count, run=run))
            return SnapshotResult(added=0, known=known)
        async with aclosing(prepare_ahead(batches, partial(self.prepare, run))) as prepared:
            async for batch in prepared:
                body = partial(snapshots.add, run=run, batch=batch, is_held=is_held)
                new, goes_on = await self.transact(body)
                added += new
                if not goes_on:
                    break
                known += batch.count - new
        return SnapshotResult(added=added, known=known)

    async def finish_snapshot(
        self, run: RunRef, *, skipped: int, rejected: int, duplicates: int
    ) -> None:
        await self.transact(
            lambda work: work.fetch(
                "finish_snapshot",
                run_id=run.id,
                skipped=skipped,
                rejected=rejected,
                duplicates=duplicates,
            )
        )

    async def release_held(self, run: RunRef, *, upto: int) -> int:
        return await self._in_chunks(partial(held.release, run=run, upto=upto, limit=CHUNK))

    async def claim(self, run: RunRef, *, limit: int, lease: timedelta) -> Lease:
        while True:
            claimed = await self.transact(
                partial(leases.claim, run=run, limit=limit, duration=lease, chunk=CHUNK)
            )
            if claimed.is_overdue:
                await self.cancel_open(run, MessageState.EXPIRED)
            # Where nothing but suppressed ones came, others have their turn between.
            if not claimed.goes_on:
                return claimed.lease

    async def renew(self, run: RunRef, lease: LeaseId, duration: timedelta) -> RunState:
        # A slow batch opens the database once, and is seen to use it by this.
        self._database.require_one_host()
        return await self.transact(
            partial(leases.renew, run=run, lease_id=lease, duration=duration)
        )

    async def intend(
        self, run: RunRef, lease: LeaseId, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        if not ids:
            return frozenset()
        return await self.briefly(
            lambda work: work.turn(run, lease, Accepted(), ids), rows=len(ids), alone=True
        )

    async def settle(
        self,
        run: RunRef,
        lease: LeaseId,
        deliveries: Sequence[Delivery],
        retry: RetryPolicy,
        *,
        bind: str = "",
    ) -> Mapping[MessageId, MessageState]:
        states, _ = await self.turn(run, lease, deliveries, (), retry, bind=bind)
        return states

    async def turn(
        self,
        run: RunRef,
        lease: LeaseId,
        deliveries: Sequence[Delivery],
        ids: Sequence[MessageId],
        retry: RetryPolicy,
        *,
        bind: str = "",
    ) -> tuple[Mapping[MessageId, MessageState], frozenset[MessageId]]:
        if not deliveries:
            return {}, await self.intend(run, lease, ids)
        turn = settling.Turn(run=run, lease=lease, ids=ids, retry=retry, bind=bind)
        usual, others = split(deliveries)
        if usual:
            body = partial(settling.settle_most, turn=turn, usual=usual, others=others)
            with suppress(NotHeldError):
                alone = not others and not any(one.parts for one in usual)
                return await self.briefly(body, rows=len(deliveries) + len(ids), alone=alone)
        return await self.transact(partial(settling.settle_each, turn=turn, deliveries=deliveries))

    async def release(self, run: RunRef, lease: LeaseId) -> int:
        return await self.transact(partial(leases.release, run=run, lease_id=lease))

    async def recover(self, run: RunRef | None = None) -> Recovered:
        pending = uncertain = 0
        while (changes := await self.transact(partial(leases.recover_one, run=run))) is not None:
            became = [change.state for change in changes]
            pending += became.count(MessageState.PENDING)
            uncertain += became.count(MessageState.UNCERTAIN)
        return Recovered(pending=pending, uncertain=uncertain)

    async def counts(self, run: RunRef) -> Mapping[MessageState, int]:
        rows = await self.look(lambda work: work.fetch("count_states", run_id=run.id))
        return dict.fromkeys(MessageState, 0) | {MessageState(state): n for state, n in rows}

    async def failures(self, run: RunRef) -> Mapping[str, int]:
        rows = await self.look(lambda work: work.fetch("count_failures", run_id=run.id))
        return {str(name): int(count) for name, count in rows}

    async def is_open(self, run: RunRef) -> bool:
        ((is_open,),) = await self.look(lambda work: work.fetch("is_open", run_id=run.id))
        return bool(is_open)

    async def cancel_open(self, run: RunRef, state: MessageState) -> int:
        if state not in (MessageState.CANCELLED, MessageState.EXPIRED):
            raise ValueError(f"open messages become cancelled or expired, not {state}")
        total = 0
        while True:
            waiting = await self._in_chunks(
                partial(endings.stop_waiting, run=run, state=state, limit=CHUNK)
            )
            waiting += await self._in_chunks(partial(held.stop, run=run, state=state, limit=CHUNK))
            total += waiting
            rows = await self.look(lambda work: work.fetch("read_leases", run_id=run.id))
            for (key,) in rows:
                total += await self.transact(
                    partial(endings.stop_claimed, run=run, state=state, lease_id=key)
                )
            # A sender may have given a claim back between the two.
            if not waiting:
                return total

    async def redrive(
        self, run: RunRef, *, failure_class: FailureClass | None = None, actor: str
    ) -> int:
        total, channel, address = 0, "", ""
        while True:
            rows = await self.look(
                partial(
                    endings.read_failed,
                    run=run,
                    failure_class=failure_class,
                    after=(channel, address),
                    limit=CHUNK,
                )
            )
            if rows and not address:
                # Before the first change: one that is cut off half way is on record as well.
                await self._record_redrive(run, failure_class, actor)
            ids = [key for key, _, _ in rows]
            total += await self.transact(partial(endings.revive, ids=ids, actor=actor))
            if len(rows) < CHUNK:
                return total
            _, channel, address = rows[-1]

    async def _record_redrive(
        self, run: RunRef, failure_class: FailureClass | None, actor: str
    ) -> None:
        async with self._database.write() as session:
            await audit.record(
                session,
                tenant_id=run.tenant_id,
                actor=actor,
                action="run.redriven",
                subject=f"run:{run.id}",
                after={"failure_class": None if failure_class is None else failure_class.value},
            )

    async def _in_chunks(self, body: Body[int]) -> int:
        total = 0
        while (done := await self.transact(body)) > 0:
            total += done
        return total

    async def receive(self, receipts: Sequence[SmsReceipt]) -> int:
        if not receipts:
            return 0
        return await self.transact(lambda work: segments.receive(work, receipts))

    async def match_waiting(self, bind: str, *, id_format: str | None = None) -> int:
        total, after = 0, NIL
        while True:
            found, after, goes_on = await self.transact(
                partial(
                    segments.match_waiting,
                    bind=bind,
                    after=after,
                    limit=CHUNK,
                    id_format=id_format,
                )
            )
            total += found
            if not goes_on:
                return total

    async def evidence(self, told: Sequence[Evidence]) -> Sequence[Effect]:
        effects: list[Effect] = []
        for chunk in portions(told, CHUNK):
            done = await self.transact(partial(show, told=chunk))
            effects += [done[piece.message_id] for piece in chunk]
        return effects

    async def fall_back(self, wave: Wave, begin: Place | None = None) -> Page | None:
        return await self.transact(
            partial(fallback.take_page, wave=wave, begin=begin, limit=fallback.PAGE)
        )

    async def note_fallback(self, lead: RunRef, seen_at: datetime, *, closes: bool = False) -> None:
        await self.transact(partial(fallback.move_on, lead=lead, seen_at=seen_at, closes=closes))

    async def messages(
        self,
        run_id: UUID,
        *,
        states: Sequence[MessageState] = (),
        batch: int = 1000,
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        channel = address = ""
        while True:
            page = await self.look(
                partial(
                    _page,
                    run_id=run_id,
                    channel=channel,
                    address=address,
                    states=[state.value for state in states],
                    limit=batch,
                )
            )
            if page:
                yield page
            if len(page) < batch:
                return
            channel, address = page[-1]["channel"], page[-1]["address"]


async def _page(work: Work, **parameters: Any) -> list[dict[str, Any]]:
    rows = await work.fetch("list_messages", **parameters)
    return [_listed(work, row) for row in rows]


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
