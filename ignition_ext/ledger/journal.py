"""Group commit: what many connections report at once is stored by one call of the ledger.

A transport calls :meth:`LedgerJournal.turn` from as many tasks as it has connections or window
slots. What arrives within one round of the event loop, or while a call is being stored, is gathered
and stored by the next one together, results and intents in one transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

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
_NOTHING: frozenset[MessageId] = frozenset()


class _Request:
    """One caller's call: what is told, what is asked for, and the answer to come."""

    __slots__ = ("deliveries", "done", "ids")

    def __init__(
        self,
        deliveries: Sequence[Delivery],
        ids: Sequence[MessageId],
        done: asyncio.Future[frozenset[MessageId]],
    ) -> None:
        self.deliveries, self.ids, self.done = deliveries, ids, done

    @property
    def size(self) -> int:
        """Messages in it."""
        return len(self.deliveries) + len(self.ids)


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
        self._held_back: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None
        self.settled: Counter[MessageState] = Counter()

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Record intents; returns those that may go out.

        A caller that is cancelled before its call is stored intends nothing.
        """
        return await self.turn((), ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Record results; when it returns they are stored.

        They are stored even when the caller is cancelled while it waits.
        """
        await self.turn(deliveries, ())

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Settle some and intend others in one transaction; returns those that may go out.

        Where the database was away and came back nothing may go out: whether the intents were
        stored is not known, so they are taken back.

        Raises:
            DatabaseError: the database stays away; nothing of this is known to be stored.
        """
        if not deliveries and not ids:
            return _NOTHING
        loop = asyncio.get_running_loop()
        while self._waiting >= MAX_WAITING:
            room: asyncio.Future[None] = loop.create_future()
            self._held_back.append(room)
            await room
        request = self._submit(deliveries, ids)
        try:
            return await request.done
        except asyncio.CancelledError:
            if not request.done.cancelled() and request.done.exception() is None:
                self._take_back(request.done.result())
            raise

    def _submit(self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]) -> _Request:
        loop = asyncio.get_running_loop()
        request = _Request(deliveries, ids, loop.create_future())
        self._waiting += request.size
        self._queue.append(request)
        if self._writer is None:
            self._writer = loop.create_task(self._write(), name="ledger-journal")
        return request

    def _take_back(self, ids: Iterable[MessageId]) -> None:
        """Settle as unsent what was intended for a caller that was cancelled meanwhile."""
        if unsent := _unsent(ids, "the sender was stopped"):
            self._submit(unsent, ()).done.add_done_callback(_log_failure)

    async def drain(self) -> None:
        """Wait until everything that was handed in is stored, or has failed."""
        while self._writer is not None:
            await asyncio.shield(self._writer)

    async def _write(self) -> None:
        try:
            while self._queue:
                await self._gather()
                group = self._next_group()
                await self._store(group)
                self._waiting -= sum([request.size for request in group])
                self._make_room()
        finally:
            self._writer = None

    async def _gather(self) -> None:
        """Let those come who are ready to: a call costs about the same for one as for ten."""
        before = 0
        while before < len(self._queue) and self._waiting < MAX_GROUP:
            before = len(self._queue)
            await asyncio.sleep(0)

    def _make_room(self) -> None:
        if self._held_back and self._waiting < MAX_WAITING:
            held_back, self._held_back = self._held_back, []
            for room in held_back:
                if not room.done():
                    room.set_result(None)

    def _next_group(self) -> list[_Request]:
        """The oldest requests in order, as long as no message stands in them twice."""
        group: list[_Request] = []
        seen: set[MessageId] = set()
        while self._queue:
            request = self._queue[0]
            keys = [*[delivery.message_id for delivery in request.deliveries], *request.ids]
            if group and (len(seen) + len(keys) > MAX_GROUP or not seen.isdisjoint(keys)):
                break
            seen.update(keys)
            group.append(self._queue.popleft())
        return group

    async def _store(self, group: Sequence[_Request]) -> None:
        deliveries = [delivery for request in group for delivery in request.deliveries]
        # Who was cancelled while it waited intends nothing.
        ids = [key for request in group if not request.done.done() for key in request.ids]
        if not deliveries and not ids:
            return
        try:
            granted = await self._turn(deliveries, ids)
        except BaseException as error:
            _tell(group, error)
            if not isinstance(error, Exception):
                raise
            return
        for request in group:
            if request.done.cancelled():
                self._take_back(granted.intersection(request.ids))
            elif not request.done.done():
                own = granted.intersection(request.ids) if request.ids else _NOTHING
                request.done.set_result(own)

    async def _turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        try:
            states, granted = await self._ledger.turn(
                self._run, self._lease, deliveries, ids, self._retry, bind=self._bind
            )
        except DatabaseError as error:
            # Settling twice is harmless, intending is not.
            again = [*deliveries, *_unsent(ids, "the database was away")]
            states, granted = await self._settle(again, error), _NOTHING
        self.settled.update(states.values())
        return granted

    async def _settle(
        self, deliveries: Sequence[Delivery], error: DatabaseError
    ) -> Mapping[MessageId, MessageState]:
        for pause in PAUSES:
            _log.warning("%d results are stored again in %s s: %s", len(deliveries), pause, error)
            await asyncio.sleep(pause)
            try:
                return await self._ledger.settle(
                    self._run, self._lease, deliveries, self._retry, bind=self._bind
                )
            except DatabaseError as again:
                error = again
        raise error


def _unsent(ids: Iterable[MessageId], text: str) -> list[Delivery]:
    outcome = Outcome(kind=OutcomeKind.UNSENT, text=text)
    return [Delivery(message_id=key, outcome=outcome) for key in ids]


def _log_failure(done: asyncio.Future[frozenset[MessageId]]) -> None:
    if not done.cancelled() and done.exception() is not None:
        _log.error("intents of a stopped sender were not taken back: %s", done.exception())


def _tell(requests: Sequence[_Request], error: BaseException) -> None:
    for request in requests:
        if request.done.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            request.done.cancel()
        else:
            request.done.set_exception(error)
