"""One call of ``deliver``: the binds, what they share, and the order in which all of it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.desk import ReceiptDesk
from ignition_ext.channels.smpp.intake import Intake
from ignition_ext.channels.smpp.message import SmsEnvelope
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.prepare import References
from ignition_ext.channels.smpp.session import Session
from ignition_ext.channels.smpp.slot import Slot
from ignition_ext.channels.smpp.worker import Worker
from ignition_ext.channels.transport import Journal
from ignition_ext.errors import ChannelError, ConnectFailed, Throttled
from ignition_ext.values import Delivery, OutcomeKind

logger = logging.getLogger(__name__)

_BUSY_BIND_ERRORS = (ConnectFailed, Throttled)
"""What one bind of several may meet while the others work on; anything else stops them all."""


class DeliveryRun:
    """Drains one source of envelopes; made for one call, then done."""

    def __init__(
        self,
        options: SmppOptions,
        journal: Journal,
        references: References,
        desk: ReceiptDesk,
        slot: Slot,
        linger: float,
    ) -> None:
        self._options, self._desk, self._linger = options, desk, linger
        self.journal, self.slot = journal, slot
        self.intake = Intake(options, references, self._wake_all)
        self._workers = [Worker(options, self) for _ in range(options.binds)]
        self._error: BaseException | None = None

    # -------------------------------------------------------------- what workers tell

    def finished(self, delivery: Delivery) -> None:
        """Expect the receipts of what was accepted."""
        if self._linger > 0:
            for part in delivery.parts:
                if part.outcome.kind is OutcomeKind.ACCEPTED:
                    self._desk.awaited.accepted(part.outcome.provider_id)

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Hand a deliver_sm or data_sm to the desk."""
        self._desk.take(session, header, pdu)

    # -------------------------------------------------------------- the run

    async def run(self, envelopes: AsyncIterator[SmsEnvelope], stop: asyncio.Event) -> None:
        """Send until ``envelopes`` ends or ``stop`` is set; see the transport's contract."""
        feeder = asyncio.create_task(self._feed(envelopes))
        helpers = [
            asyncio.create_task(self._desk.run()),
            asyncio.create_task(self._watch(stop, feeder)),
        ]
        crew = asyncio.gather(*(self._work(worker) for worker in self._workers))
        try:
            await asyncio.shield(crew)
            if self._error is None:
                await self._await_receipts(stop)
        except asyncio.CancelledError:
            # The far side may have taken what is unanswered: say so before going.
            feeder.cancel()
            for worker in self._workers:
                worker.hurry()
            await crew
            raise
        finally:
            await self._close([feeder, *helpers])
        if self._error is not None:
            raise self._error

    async def _feed(self, envelopes: AsyncIterator[SmsEnvelope]) -> None:
        try:
            await self.intake.fill(envelopes)
        except Exception as error:
            self._fail(error)

    async def _work(self, worker: Worker) -> None:
        try:
            await worker.run()
        except _BUSY_BIND_ERRORS as error:
            self._lost_bind(worker, error)
            await worker.close()
        except Exception as error:
            self._fail(error)
            worker.hurry()

    def _lost_bind(self, worker: Worker, error: ConnectFailed | Throttled) -> None:
        self._workers.remove(worker)
        if self._workers:
            logger.warning(
                "%d binds left of %d: %s", len(self._workers), self._options.binds, error
            )
        else:
            self._error = self._error or error

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        for worker in self._workers:
            worker.stop()

    async def _watch(self, stop: asyncio.Event, feeder: asyncio.Task[None]) -> None:
        await stop.wait()
        feeder.cancel()
        for worker in self._workers:
            worker.stop()
        await asyncio.sleep(self._options.drain_timeout)
        for worker in self._workers:
            worker.hurry()

    async def _await_receipts(self, stop: asyncio.Event) -> None:
        """Stay bound until each part has its final receipt, or none came for a while."""
        keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        stopped = asyncio.create_task(stop.wait())
        awaited = self._desk.awaited
        try:
            while awaited.count and not stop.is_set():
                awaited.changed.clear()
                changed = asyncio.create_task(awaited.changed.wait())
                done, _ = await asyncio.wait(
                    {changed, stopped},
                    timeout=self._linger,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                changed.cancel()
                if not done:
                    return
        finally:
            for task in (*keepers, stopped):
                task.cancel()
            await asyncio.gather(*keepers, stopped, return_exceptions=True)

    async def _keep(self, worker: Worker) -> None:
        try:
            await worker.keep()
        except ChannelError as error:
            logger.warning("No more receipts on this bind: %s", error)

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        await self._desk.drained()
        await asyncio.gather(*(worker.close() for worker in self._workers))
        await self._desk.drained()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wake_all(self) -> None:
        for worker in self._workers:
            worker.wake()
