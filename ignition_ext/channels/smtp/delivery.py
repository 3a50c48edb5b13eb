"""One call of ``deliver``: connections side by side over one feed, each message settled once.

Each connection has two lanes, long-lived tasks that carry one message after the other. Where the
server pipelines they alternate: while one's message is on the wire, the other's result and next
intent are being stored. So a connection never has more than two messages that are intended and
not stored as settled. Elsewhere the second lane sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ignition_ext.channels.smtp.connection import Session, connect
from ignition_ext.channels.smtp.exchange import Exchange, session_error
from ignition_ext.channels.smtp.feed import Feed
from ignition_ext.channels.smtp.options import EmailEnvelope, SmtpOptions
from ignition_ext.channels.smtp.order import Order
from ignition_ext.channels.smtp.reconnect import Setbacks
from ignition_ext.channels.transport import Journal
from ignition_ext.errors import ChannelError
from ignition_ext.values import Delivery, MessageId

# A cancelled task is soon killed: less patience than after a stop, yet enough for a reply that is
# on its way.
_CANCEL_GRACE_SECONDS = 2.0

T = TypeVar("T")


@dataclass(slots=True)
class _Connection:
    """The session that two lanes share, and how it fared.

    ``doubled`` is set while the second lane may work: the server pipelines and has judged one.
    """

    session: Session | None = None
    epoch: int = 0
    setbacks: int = 0
    lanes: int = 2
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    doubled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Lane:
    """At most one result, to be stored together with the next intent."""

    unstored: list[Delivery] = field(default_factory=list)


class SmtpDelivery:
    """Lanes are never cancelled; they are told to close, and at the end their links are cut.

    So nothing can come between an intent and its settlement.
    """

    def __init__(
        self, options: SmtpOptions, envelopes: AsyncIterator[EmailEnvelope], journal: Journal
    ) -> None:
        self._options = options
        self._journal = journal
        self._source = envelopes
        self._setbacks = Setbacks(options)
        self._closing = asyncio.Event()
        self._login_gate = asyncio.Lock()
        self._order = Order()
        self._probe = asyncio.Lock()
        self._sessions: set[Session] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._error: Exception | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until the feed ends, ``stop`` is set, or the server is given up."""
        if stop.is_set():
            return
        self._feed = Feed(self._source, ahead=self._options.connections)
        lanes = [
            asyncio.create_task(self._run_lane(connection, first=first))
            for connection in [_Connection() for _ in range(self._options.connections)]
            for first in (True, False)
        ]
        watcher = asyncio.create_task(self._close_on(stop))
        try:
            await asyncio.wait(lanes)
        except asyncio.CancelledError:
            self._close(_CANCEL_GRACE_SECONDS)
            await self._outlast_cancellation(lanes)
            raise
        finally:
            watcher.cancel()
            for timer in self._timers:
                timer.cancel()
            self._feed.close()
            await asyncio.wait([watcher, self._feed.pump])
        if (error := self._error or self._feed.error) is not None:
            raise error

    # closing

    async def _close_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._close(self._options.drain_timeout)

    def _close(self, patience: float) -> None:
        """Intend nothing more; cut what has no answer after ``patience`` seconds."""
        self._closing.set()
        self._feed.close()
        self._timers.append(asyncio.get_running_loop().call_later(patience, self._cut))

    def _cut(self) -> None:
        for session in self._sessions:
            session.wire.cut("Ignition stopped before the server answered")

    async def _outlast_cancellation(self, lanes: list[asyncio.Task[None]]) -> None:
        while not all(lane.done() for lane in lanes):
            try:
                await asyncio.wait(lanes)
            except asyncio.CancelledError:
                self._cut()

    def _fail(self, error: Exception) -> None:
        """Stop everything for this error; the first one is raised at the end."""
        if self._error is None:
            self._error = error
            self._close(self._options.drain_timeout)

    async def _unless_closing(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The work's result; None when closing came first, and the work is cancelled."""
        if self._closing.is_set():
            work.close()
            return None
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait([task, closing], return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    # one lane

    async def _run_lane(self, connection: _Connection, *, first: bool) -> None:
        lane = _Lane()
        try:
            while (envelope := await self._next(connection, lane, first=first)) is not None:
                try:
                    if self._closing.is_set():
                        break
                    await self._carry(connection, lane, envelope)
                finally:
                    self._feed.finish()
            await self._store(lane)
        except Exception as error:
            self._fail(error)
        finally:
            await self._leave(connection, first=first)

    async def _next(
        self, connection: _Connection, lane: _Lane, *, first: bool
    ) -> EmailEnvelope | None:
        """The next envelope; before any wait for it, what is not stored yet is stored."""
        if not first and not connection.doubled.is_set():
            await self._store(lane)
            await connection.doubled.wait()
        envelope = self._feed.take_now()
        if envelope is None:
            await self._store(lane)
            envelope = await self._feed.take()
        return envelope

    async def _carry(self, connection: _Connection, lane: _Lane, envelope: EmailEnvelope) -> None:
        """After a setback (and at first) one connection tries; the others wait for it to get on."""
        session = connection.session
        if session is not None and session.usable:
            await self._one(connection, lane, envelope)
            return
        await self._store(lane)
        if not self._setbacks.trusted:
            async with self._probe:
                if not self._setbacks.trusted:
                    await self._one(connection, lane, envelope)
                    await self._store(lane)
                    return
        await self._one(connection, lane, envelope)

    async def _one(self, connection: _Connection, lane: _Lane, envelope: EmailEnvelope) -> None:
        session = connection.session
        if session is None or not session.usable:
            session = await self._open(connection)
        if session is None:
            self._feed.give_back(envelope)
            await self._back_off(connection)
            return
        if self._closing.is_set():
            return
        message_id = envelope.message_id
        if message_id not in await self._turn(lane, message_id):
            return
        exchange = await session.send(envelope)
        lane.unstored.append(Delivery(message_id=message_id, outcome=exchange.outcome))
        if exchange.judged:
            self._setbacks.progress()
            connection.setbacks, connection.epoch = 0, self._setbacks.epoch
            if session.pipelined:
                connection.doubled.set()
        if exchange.fatal is not None:
            self._fail(exchange.fatal)
        elif not session.usable:
            await self._lost(connection, lane, session, exchange)

    async def _turn(self, lane: _Lane, message_id: MessageId) -> frozenset[MessageId]:
        """Store the last result and the next intent at once; None of it twice, also on errors."""
        unstored, lane.unstored = lane.unstored, []
        if not unstored:
            return await self._journal.intend((message_id,))
        return await self._journal.turn(unstored, (message_id,))

    async def _store(self, lane: _Lane) -> None:
        if lane.unstored:
            unstored, lane.unstored = lane.unstored, []
            await self._journal.settle(unstored)

    async def _lost(
        self, connection: _Connection, lane: _Lane, session: Session, exchange: Exchange
    ) -> None:
        """The session ended under this message; that is one setback for all that were on it."""
        await self._store(lane)
        await self._drop(connection, session)
        if not exchange.judged and not session.counted:
            session.counted = True
            self._setback(connection, session_error(exchange.outcome, self._options.server))
            await self._back_off(connection)

    async def _leave(self, connection: _Connection, *, first: bool) -> None:
        """The last one says goodbye; the second lane may have waited for its turn all the time."""
        connection.lanes -= 1
        if first:
            connection.doubled.set()
        if not connection.lanes and connection.session is not None:
            await self._drop(connection, connection.session, politely=True)

    # sessions

    async def _open(self, connection: _Connection) -> Session | None:
        async with connection.opening:
            session = connection.session
            if session is not None and session.usable:
                return session
            if session is not None:
                await self._drop(connection, session)
            connection.epoch = self._setbacks.epoch
            try:
                session = await self._unless_closing(
                    connect(self._options, self._login_gate, self._order)
                )
            except ChannelError as error:
                self._setback(connection, error)
                return None
            if session is not None:
                self._sessions.add(session)
                connection.session = session
                if not session.pipelined:
                    connection.doubled.clear()
            return session

    async def _drop(
        self, connection: _Connection, session: Session, *, politely: bool = False
    ) -> None:
        if connection.session is session:
            connection.session = None
        if politely:
            await session.wire.quit()
        else:
            await session.wire.close()
        self._sessions.discard(session)

    def _setback(self, connection: _Connection, error: ChannelError) -> None:
        connection.setbacks += 1
        final = self._setbacks.record(error, epoch=connection.epoch, others=len(self._sessions))
        if final is not None:
            self._fail(final)

    async def _back_off(self, connection: _Connection) -> None:
        delay = self._setbacks.delay(connection.setbacks)
        await self._unless_closing(self._feed.until_drained(delay))
