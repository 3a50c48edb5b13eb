"""Stays bound to hear receipts and texts, for as long as it is wanted; answers a text or two.

A link that is lost is made anew for ever: whoever listens is there before the SMSC is back. Only
a login that is refused for good ends it, because providers lock accounts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from random import uniform
from typing import Any, TypeVar

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.classify import accepted, classify
from ignition_ext.channels.smpp.desk import Inbox, ReceiptDesk, Store
from ignition_ext.channels.smpp.message import Part, SmsEnvelope, SmsInFlight
from ignition_ext.channels.smpp.options import BindType, SmppOptions
from ignition_ext.channels.smpp.prepare import References, prepare
from ignition_ext.channels.smpp.reconnect import Reconnector
from ignition_ext.channels.smpp.session import Answer, Session
from ignition_ext.channels.smpp.slot import Slot, no_limit
from ignition_ext.errors import ChannelError, MustWait
from ignition_ext.values import Delivery, FailureClass, MessageId, Outcome, OutcomeKind

logger = logging.getLogger(__name__)
T = TypeVar("T")


class SmppListener:
    """One bind that hears.

    Args:
        options: where and how; a transmitter is bound as a receiver instead.
        on_receipts: stores receipts; when it returned they are acknowledged.
        on_incoming: where texts from handsets go, likewise.
        slot: entered before the bind is opened, left when it is closed for good.
        tell: called with words for people when something changed.
        waits: whether to go on waiting when the slot's own patience is at its end.

    Attributes:
        desk: what came, in numbers.
        bound: set while a bind stands.
        bound_at: since when, by the loop's clock; None before the first one.
        trouble: why there is no bind; empty once there was one.
    """

    def __init__(
        self,
        options: SmppOptions,
        *,
        on_receipts: Store,
        on_incoming: Inbox,
        slot: Slot = no_limit,
        tell: Callable[[str], None] = logger.info,
        waits: bool = True,
    ) -> None:
        if options.bind is BindType.TRANSMITTER:
            options = replace(options, bind=BindType.RECEIVER)
        self.options, self._slot, self._tell = options, slot, tell
        self.desk = ReceiptDesk(options, on_receipts, on_incoming)
        self._loop = asyncio.get_running_loop()
        self._references = References(wide=options.wide_reference)
        self._session: Session | None = None
        self._leave = asyncio.Event()
        self._replies: dict[MessageId, asyncio.Future[Delivery]] = {}
        self._waits = waits
        self.bound = asyncio.Event()
        self.bound_at: float | None = None
        self.trouble = "there was no time to bind"

    @property
    def can_send(self) -> bool:
        """Whether texts can be sent over this bind, once it stands."""
        return self.options.bind is BindType.TRANSCEIVER

    def leave(self) -> None:
        """Close the bind now; it is opened again when its slot can be had again."""
        self._leave.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop`` is set; what came until then is stored and answered.

        Raises:
            ChannelError: the SMSC refuses us for good.
            MustWait: others have all binds, and this listener does not wait.
        """
        self.desk.open()
        desk = asyncio.create_task(self.desk.run(), name="receipt-desk")
        failures = 0
        try:
            while not stop.is_set():
                self._leave.clear()
                try:
                    failures = 0 if await self._hold(stop) else failures + 1
                except MustWait as error:
                    if not self._waits:
                        raise
                    failures, self.trouble = 0, error.message  # the slot has waited and said so
                except ChannelError as error:
                    if not error.temporary:
                        raise
                    failures, self.trouble = failures + 1, error.message
                    self._tell(f"no bind, trying again: {error}")
                if failures:
                    await self._unless(stop, asyncio.sleep(self._pause(failures)))
        finally:
            desk.cancel()
            await asyncio.gather(desk, return_exceptions=True)

    async def send(self, envelope: SmsEnvelope) -> Delivery:
        """Send one text over the bind and wait for what comes of it.

        Raises:
            ConnectionError: there is no bind; nothing was written.
        """
        session = self._session
        if session is None or not session.is_writable:
            raise ConnectionError("there is no bind to send by")
        message = SmsInFlight(
            envelope.message_id, prepare(envelope, self.options, self._references)
        )
        if message.refusal is not None:
            return message.delivery()
        future: asyncio.Future[Delivery] = self._loop.create_future()
        self._replies[envelope.message_id] = future
        try:
            session.submit(message.parts())
            return await future
        finally:
            del self._replies[envelope.message_id]

    # -------------------------------------------------------------- what a session tells

    def answered(self, answers: Sequence[Answer]) -> None:
        """Note what came of the parts of a reply."""
        for part, status, message_id in answers:
            self._record(part, accepted(message_id) if status == codec.OK else classify(status))

    def lost(self, part: Part, reason: str, *, unsent: bool) -> None:
        """Note that a part of a reply will not be answered."""
        kind = OutcomeKind.UNSENT if unsent else OutcomeKind.UNCERTAIN
        self._record(part, Outcome(kind=kind, text=reason, failure_class=FailureClass.CONNECTION))

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Hand a deliver_sm or data_sm to the desk."""
        self.desk.take(session, header, pdu)

    def changed(self) -> None:
        """Nobody waits for room: replies are few."""

    def _record(self, part: Part, outcome: Outcome) -> None:
        message = part.message
        message.record(part, outcome)
        future = self._replies.get(message.message_id)
        if message.complete and future is not None and not future.done():
            future.set_result(message.delivery())

    # -------------------------------------------------------------- the bind

    async def _hold(self, stop: asyncio.Event) -> bool:
        """Keep a slot, and bind as often as the link is lost; whether it was bound at all."""
        reconnector = Reconnector(self.options, self, self._slot, self._loop.time)
        was_bound, lost_at, losses = False, 0.0, 0
        try:
            while not (stop.is_set() or self._leave.is_set()):
                session = await self._unless(stop, reconnector.open())
                if session is None:
                    break
                was_bound = True
                reconnector.progress()
                await self._listen(session, stop)
                if stop.is_set():
                    break
                self._tell(f"the link to {self.options.server} is gone: {session.reason}")
                now = self._loop.time()
                losses = losses + 1 if now - lost_at < self.options.reconnect_timeout else 1
                lost_at = now
                if losses > 1:
                    await self._unless(stop, asyncio.sleep(self._pause(losses - 1)))
        finally:
            await reconnector.release()
        return was_bound

    async def _listen(self, session: Session, stop: asyncio.Event) -> None:
        self._session = session
        self.bound.set()
        self.bound_at, self.trouble = self._loop.time(), ""
        self._tell(f"listens at {self.options.bind_name}")
        over = [
            asyncio.ensure_future(one)
            for one in (session.wait_closed(), stop.wait(), self._leave.wait())
        ]
        try:
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            if session.is_open:
                await self._drain(session, is_last=stop.is_set())
        finally:
            self._session = None
            self.bound.clear()
            for one in over:
                one.cancel()
            await asyncio.gather(*over, return_exceptions=True)
            await session.close()

    async def _drain(self, session: Session, *, is_last: bool) -> None:
        """Store and answer what came, and unbind; what comes meanwhile is the SMSC's to keep."""
        if is_last:
            self.desk.close()
        try:
            async with asyncio.timeout(self.options.drain_timeout):
                await self.desk.drained()
        except TimeoutError:
            logger.warning("The database is slow: the SMSC keeps what is not stored yet")

    async def _unless(self, stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
        """The work's result; None when ``stop`` is set first, or the slot is lost."""
        task = asyncio.ensure_future(work)
        others = [asyncio.ensure_future(event.wait()) for event in (stop, self._leave)]
        try:
            await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for one in (task, *others):
                one.cancel()
            await asyncio.gather(task, *others, return_exceptions=True)

    def _pause(self, failures: int) -> float:
        options = self.options
        most = min(options.reconnect_max, options.reconnect_base * 2 ** min(failures, 16))
        # Jitter, or all who listen come back in the same moment.
        return uniform(most / 2, most)  # noqa: S311  no secret
