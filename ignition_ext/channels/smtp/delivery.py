"""One call of ``deliver``: connections side by side over one feed, each message settled once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from ignition_ext.channels.smtp.connection import Session, connect
from ignition_ext.channels.smtp.conversation import Exchange
from ignition_ext.channels.smtp.feed import Feed
from ignition_ext.channels.smtp.options import EmailEnvelope, SmtpOptions
from ignition_ext.channels.smtp.reconnect import Setbacks
from ignition_ext.channels.smtp.throttle import TokenBucket
from ignition_ext.channels.transport import Journal
from ignition_ext.errors import ChannelError, ConnectFailed, Throttled
from ignition_ext.values import Delivery

# A cancelled task is soon killed: less patience than after a stop, yet enough for a reply that is
# on its way.
_CANCEL_GRACE_SECONDS = 2.0

T = TypeVar("T")


@dataclass(slots=True)
class _Connection:
    """One worker's: the session it holds, and how it fared."""

    session: Session | None = None
    epoch: int = 0
    setbacks: int = 0


class SmtpDelivery:
    """Workers are never cancelled; they are told to close, and at the end their links are cut.

    So nothing can come between an intent and its settlement.
    """

    def __init__(
        self, options: SmtpOptions, envelopes: AsyncIterator[EmailEnvelope], journal: Journal
    ) -> None:
        self._options = options
        self._journal = journal
        self._source = envelopes
        self._setbacks = Setbacks(options)
        self._throttle = (
            TokenBucket(options.per_second, time.monotonic) if options.per_second else None
        )
        self._closing = asyncio.Event()
        self._login_gate = asyncio.Lock()
        self._probe = asyncio.Lock()
        self._sessions: set[Session] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._error: Exception | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until the feed ends, ``stop`` is set, or the server is given up."""
        if stop.is_set():
            return
        self._feed = Feed(self._source, ahead=self._options.connections)
        workers = [asyncio.create_task(self._work()) for _ in range(self._options.connections)]
        watcher = asyncio.create_task(self._close_on(stop))
        try:
            await asyncio.wait(workers)
        except asyncio.CancelledError:
            self._close(_CANCEL_GRACE_SECONDS)
            await self._outlast_cancellation(workers)
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

    async def _outlast_cancellation(self, workers: list[asyncio.Task[None]]) -> None:
        while not all(worker.done() for worker in workers):
            try:
                await asyncio.wait(workers)
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

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._unless_closing(asyncio.sleep(seconds))

    # one worker

    async def _work(self) -> None:
        connection = _Connection()
        try:
            while (envelope := await self._feed.take()) is not None:
                try:
                    if self._closing.is_set():
                        break
                    await self._with_probe(connection, envelope)
                finally:
                    self._feed.finish()
        except Exception as error:
            self._fail(error)
        finally:
            await self._drop(connection, politely=True)

    async def _with_probe(self, connection: _Connection, envelope: EmailEnvelope) -> None:
        """After a setback (and at first) one connection tries; the others wait for it to get on."""
        if connection.session is not None and not connection.session.wire.usable:
            await self._drop(connection)
        if connection.session is not None or self._setbacks.trusted:
            await self._one(connection, envelope)
            return
        await self._probe.acquire()
        try:
            if not self._setbacks.trusted:
                await self._one(connection, envelope)
                return
        finally:
            self._probe.release()
        await self._one(connection, envelope)

    async def _one(self, connection: _Connection, envelope: EmailEnvelope) -> None:
        if connection.session is None and not await self._open(connection):
            self._feed.give_back(envelope)
            await self._back_off(connection)
            return
        if self._throttle is not None:
            await self._pause(self._throttle.reserve())
        if self._closing.is_set() or connection.session is None:
            return
        exchange = await self._exchange(connection.session, envelope)
        if exchange is None:
            return
        if exchange.judged:
            self._setbacks.progress()
            connection.setbacks, connection.epoch = 0, self._setbacks.epoch
        if exchange.fatal is not None:
            self._fail(exchange.fatal)
        if not exchange.usable:
            await self._drop(connection)
            if not exchange.judged and exchange.fatal is None:
                self._setback(connection, _session_error(exchange, self._options))
                await self._back_off(connection)

    async def _exchange(self, session: Session, envelope: EmailEnvelope) -> Exchange | None:
        """Intend, converse, settle. None when the ledger says that it must not go."""
        allowed = await self._journal.intend([envelope.message_id])
        if envelope.message_id not in allowed:
            return None
        exchange = await session.conversation.send(envelope)
        await self._journal.settle(
            [Delivery(message_id=envelope.message_id, outcome=exchange.outcome)]
        )
        return exchange

    async def _open(self, connection: _Connection) -> bool:
        connection.epoch = self._setbacks.epoch
        try:
            session = await self._unless_closing(connect(self._options, self._login_gate))
        except ChannelError as error:
            self._setback(connection, error)
            return False
        if session is None:
            return False
        self._sessions.add(session)
        connection.session = session
        return True

    async def _drop(self, connection: _Connection, *, politely: bool = False) -> None:
        session, connection.session = connection.session, None
        if session is None:
            return
        if politely and session.wire.usable:
            await session.quit()
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


def _session_error(exchange: Exchange, options: SmtpOptions) -> ChannelError:
    outcome = exchange.outcome
    if outcome.code:
        return Throttled(
            f"the server keeps asking to come back later: {outcome.code} {outcome.text}",
            server=options.server,
            code=outcome.code,
        )
    return ConnectFailed(
        f"connections to the server do not hold: {outcome.text}",
        server=options.server,
        mend="Look into the server's log; nothing was judged in the last sessions.",
    )
