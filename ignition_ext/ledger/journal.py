"""Group commit: what many connections report at once is stored by one call of the ledger.

A transport calls :meth:`LedgerJournal.intend` and :meth:`LedgerJournal.settle` from as many tasks
as it has connections or window slots. An idle journal passes a call on at once; while one call is
being stored, those that arrive are gathered and stored by the next one together.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ignition_ext.channels.transport import Journal
from ignition_ext.errors import DatabaseError
from ignition_ext.ledger.contract import Ledger, RetryPolicy
from ignition_ext.values import (
    Delivery,
    LeaseId,
    MessageId,
    MessageState,
    Outcome,
    OutcomeKind,
    RunRef,
)

MAX_GROUP = 2000
"""Messages in one call: more would keep the first of them waiting longer than it gains."""
MAX_WAITING = 10_000
"""Messages that may wait for the database; above it callers are held back, so that a database
that is slower than the servers slows the sending down instead of filling the memory."""
PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Seconds between the tries to store results while the database is away: what a server said is
known here alone. Longer than a failover's usual gap, shorter than a lease."""
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Request:
    """One caller's call; ``deliveries`` is empty for an intent."""

    ids: tuple[MessageId, ...]
    deliveries: tuple[Delivery, ...]
    done: asyncio.Future[frozenset[MessageId]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class LedgerJournal(Journal):
    """A transport's journal over the ledger, for one lease.

    Args:
        ledger: where it is written.
        run: the messages' run.
        lease: the claim that covers them.
        retry: decides on refused ones.
        bind: ``host:port/system_id`` for SMS, so that receipts find their segments.

    Attributes:
        settled: messages settled so far, by their new state.
    """

    def __init__(
        self, ledger: Ledger, run: RunRef, lease: LeaseId, retry: RetryPolicy, *, bind: str = ""
    ) -> None:
        self._ledger, self._run, self._lease = ledger, run, lease
        self._retry, self._bind = retry, bind
        self._queue: deque[_Request] = deque()
        self._waiting = 0
        self._room = asyncio.Condition()
        self._writer: asyncio.Task[None] | None = None
        self.settled: Counter[MessageState] = Counter()

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Record intents; returns those that may go out.

        A caller that is cancelled before its call is stored intends nothing.
        """
        if not ids:
            return frozenset()
        return await self._submit(_Request(tuple(ids), ()))

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Record results; when it returns they are stored.

        They are stored even when the caller is cancelled while it waits.
        """
        if deliveries:
            ids = tuple(delivery.message_id for delivery in deliveries)
            await self._submit(_Request(ids, tuple(deliveries)))

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Settle some and intend others."""
        await self.settle(deliveries)
        return await self.intend(ids)

    async def drain(self) -> None:
        """Wait until everything that was handed in is stored, or has failed."""
        while self._writer is not None:
            await asyncio.shield(self._writer)

    async def _submit(self, request: _Request) -> frozenset[MessageId]:
        async with self._room:
            await self._room.wait_for(lambda: self._waiting < MAX_WAITING)
            self._waiting += len(request.ids)
            self._queue.append(request)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="ledger-journal")
        return await request.done

    async def _write(self) -> None:
        try:
            while self._queue:
                group = self._next_group()
                await self._store(group)
                async with self._room:
                    self._waiting -= sum(len(request.ids) for request in group)
                    self._room.notify_all()
        finally:
            self._writer = None

    def _next_group(self) -> list[_Request]:
        """The oldest requests in order, as long as no message stands in them twice."""
        group: list[_Request] = []
        seen: set[MessageId] = set()
        while self._queue:
            request = self._queue[0]
            if group and (
                len(seen) + len(request.ids) > MAX_GROUP or not seen.isdisjoint(request.ids)
            ):
                break
            seen.update(request.ids)
            group.append(self._queue.popleft())
        return group

    async def _store(self, group: Sequence[_Request]) -> None:
        # Results first: they free places in the window, and were on the wire already.
        await self._store_results([request for request in group if request.deliveries])
        await self._store_intents(
            [request for request in group if not request.deliveries and not request.done.done()]
        )

    async def _store_results(self, requests: Sequence[_Request]) -> None:
        if not requests:
            return
        deliveries = [delivery for request in requests for delivery in request.deliveries]
        try:
            states = await self._settle(deliveries)
        except BaseException as error:
            _fail(requests, error)
            if not isinstance(error, Exception):
                raise
            return
        self.settled.update(states.values())
        for request in requests:
            if not request.done.done():
                request.done.set_result(frozenset(request.ids))

    async def _settle(self, deliveries: Sequence[Delivery]) -> Mapping[MessageId, MessageState]:
        """Settle, again where the database failed: settling twice is harmless, intending is not."""
        for pause in PAUSES:
            try:
                return await self._ledger.settle(
                    self._run, self._lease, deliveries, self._retry, bind=self._bind
                )
            except DatabaseError as error:
                _log.warning(
                    "%d results are stored again in %s s: %s", len(deliveries), pause, error
                )
                await asyncio.sleep(pause)
        return await self._ledger.settle(
            self._run, self._lease, deliveries, self._retry, bind=self._bind
        )

    async def _store_intents(self, requests: Sequence[_Request]) -> None:
        if not requests:
            return
        ids = [key for request in requests for key in request.ids]
        try:
            granted = await self._ledger.intend(self._run, self._lease, ids)
            lost = [request for request in requests if request.done.cancelled()]
            await self._take_back(lost)
        except BaseException as error:
            _fail(requests, error)
            if not isinstance(error, Exception):
                raise
            return
        for request in requests:
            if not request.done.done():
                request.done.set_result(granted.intersection(request.ids))

    async def _take_back(self, requests: Sequence[_Request]) -> None:
        """Settle as unsent what was intended for callers that were cancelled meanwhile."""
        unsent = Outcome(kind=OutcomeKind.UNSENT, text="the sender was stopped")
        deliveries = [
            Delivery(message_id=key, outcome=unsent) for request in requests for key in request.ids
        ]
        if deliveries:
            await self._settle(deliveries)


def _fail(requests: Sequence[_Request], error: BaseException) -> None:
    for request in requests:
        if request.done.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            request.done.cancel()
        else:
            request.done.set_exception(error)
