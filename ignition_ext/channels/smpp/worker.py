"""One bind at work: takes messages, has the intent stored, writes parts, hears answers, reconnects.

Everything that can be done is done at once, by :meth:`Worker.wake`, whenever something changed:
answers came, a turn was stored, the socket has room, a pause is over. Only connecting waits, and
what is answered is settled meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.backlog import Backlog
from ignition_ext.channels.smpp.books import Books
from ignition_ext.channels.smpp.classify import (
    NOT_BOUND,
    QUEUE_FULL,
    REFUSES_LOGIN,
    REFUSES_PROTOCOL,
    SLOW_DOWN,
    accepted,
    classify,
)
from ignition_ext.channels.smpp.intake import Intake
from ignition_ext.channels.smpp.message import Part, SmsInFlight
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.pace import Pace
from ignition_ext.channels.smpp.reconnect import Reconnector
from ignition_ext.channels.smpp.session import Answer, Session
from ignition_ext.channels.smpp.slot import Slot
from ignition_ext.channels.transport import Journal
from ignition_ext.errors import AuthenticationFailed, ChannelError, ProtocolViolation
from ignition_ext.values import Delivery, FailureClass, Outcome, OutcomeKind

_QUEUE_FULL_TRIES = 3
"""0x14 may be one recipient's full queue: after a few tries the message waits in the ledger."""

_PART_TRIES, _PART_PAUSE = 3, 1.0
"""A later part that is refused for now is tried again in place, because the parts before it were
accepted and the message cannot be sent afresh."""


class Office(Protocol):
    """What the binds of one delivery share."""

    intake: Intake
    journal: Journal
    slot: Slot

    def finished(self, delivery: Delivery) -> None:
        """Hear of a message whose outcome is known and will be stored."""
        ...

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Take over a deliver_sm or data_sm, to store and answer it."""
        ...


class Worker:
    """Drains the intake through one bind."""

    def __init__(self, options: SmppOptions, office: Office) -> None:
        self._loop = asyncio.get_running_loop()
        self._options, self._office, self._intake = options, office, office.intake
        self._pace = Pace(options, self._loop.time())
        self._reconnector = Reconnector(options, self, office.slot, self._loop.time)
        self._backlog = Backlog()
        self._books = Books(options.window, office.journal, self._admitted)
        self._look = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._is_stopping = self._is_hurried = self._is_keeping = False
        self._error: ChannelError | None = None
        self._opening: asyncio.Task[Session] | None = None
        self._session: Session | None = None

    # -------------------------------------------------------------- from outside

    def stop(self) -> None:
        """Take nothing new, give back what was not begun, finish the rest."""
        self._is_stopping = True
        self.wake()

    def hurry(self) -> None:
        """Stop waiting: what is unanswered now is uncertain."""
        self._is_stopping = self._is_hurried = True
        if self._session is not None:
            self._session.abort("stopped while answers were outstanding")
        self._give_back(begun=True)
        self.wake()

    async def run(self) -> None:
        """Work until nothing is left and everything is stored; the session stays open.

        Raises:
            ChannelError: no bind to be had; each message of this worker has its outcome stored.
        """
        try:
            await self._work()
        except ChannelError:
            self.hurry()
            await self._work()
            raise
        if self._error is not None:
            raise self._error

    async def keep(self) -> None:
        """Stay bound to hear receipts, until cancelled.

        Raises:
            ChannelError: the link was lost and cannot be had again.
        """
        self._is_keeping = True
        while True:
            self._look.clear()
            if not self._is_open:
                await self._open()
            await self._look.wait()

    async def close(self) -> None:
        """Unbind, and give back the right to bind."""
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            await self._session.close()
        await self._reconnector.release()

    # -------------------------------------------------------------- what a session tells

    def answered(self, answers: Sequence[Answer]) -> None:
        """Note what came of parts."""
        if any(status not in NOT_BOUND for _, status, _ in answers):
            self._reconnector.progress()
        now = self._loop.time()
        contented = 0
        for part, status, message_id in answers:
            if status == codec.OK:
                self._record(part, accepted(message_id))
                contented += 1
                continue
            part.message.handed -= 1
            if status in SLOW_DOWN:
                self._pace.throttled(now)
                self._slowed_down(part, status, now)
            else:
                self._refused(part, status, now)
                contented += 1
        self._pace.answered(contented, now)
        self.wake()

    def lost(self, part: Part, reason: str, *, unsent: bool) -> None:
        """Note that a part will not be answered."""
        if unsent:
            part.message.handed -= 1
        if unsent and not self._is_hurried:
            self._backlog.put_back(part)
            return
        kind = OutcomeKind.UNSENT if unsent else OutcomeKind.UNCERTAIN
        self._record(part, _lost(kind, reason))

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Hand on a deliver_sm or data_sm; it tells nothing of whether parts are answered."""
        if self._is_keeping:
            self._reconnector.progress()
        self._office.delivered(session, header, pdu)

    def changed(self) -> None:
        """The session can take more, or nothing any more."""
        self.wake()

    # -------------------------------------------------------------- outcomes

    def _refused(self, part: Part, status: int, now: float) -> None:
        outcome = classify(status)
        if status in REFUSES_LOGIN | REFUSES_PROTOCOL:
            self._refused_as_a_whole(outcome)
        elif status in NOT_BOUND and self._session is not None:
            self._session.retire(outcome.text)
        is_mid_message = part.message.accepted and outcome.kind is OutcomeKind.DEFERRED
        if (is_mid_message or status in NOT_BOUND) and part.tries < _PART_TRIES:
            self._backlog.try_again(part, outcome, now + _PART_PAUSE)
        else:
            self._record(part, outcome)

    def _slowed_down(self, part: Part, status: int, now: float) -> None:
        outcome = classify(status)
        if part.throttled_at is None:
            part.throttled_at = now
        is_patient = now - part.throttled_at < self._options.throttle_patience
        if status == QUEUE_FULL and part.tries >= _QUEUE_FULL_TRIES:
            is_patient = False
        if is_patient:
            self._backlog.try_again(part, outcome, now)
        else:
            self._record(part, outcome)

    def _refused_as_a_whole(self, outcome: Outcome) -> None:
        kind = AuthenticationFailed if outcome.failure_class is FailureClass.AUTH else None
        self._error = (kind or ProtocolViolation)(
            f"The SMSC refuses what we send: {outcome.text} ({outcome.code}).",
            server=self._options.server,
            code=outcome.code,
            mend="Ask the provider what it allows this account.",
        )
        self.stop()

    def _record(self, part: Part, outcome: Outcome) -> None:
        part.message.record(part, outcome)
        if part.message.complete:
            self._finish(part.message)

    def _finish(self, message: SmsInFlight) -> None:
        delivery = message.delivery()
        self._office.finished(delivery)
        self._books.finish(delivery)

    def _give_back(self, *, begun: bool) -> None:
        for part, refusal in self._backlog.clear(begun=begun):
            never = _lost(OutcomeKind.UNSENT, "stopped before it was written")
            self._record(part, refusal or never)

    # -------------------------------------------------------------- the session

    @property
    def _is_open(self) -> bool:
        return self._session is not None and self._session.is_open

    @property
    def _has_work(self) -> bool:
        """Whether there is, or may come, anything to write."""
        if self._is_keeping or self._backlog:
            return True
        return not self._is_stopping and (bool(self._books.coming) or not self._intake.is_over)

    @property
    def _is_done(self) -> bool:
        in_flight = self._session.in_flight if self._session is not None else 0
        return not self._has_work and not in_flight and self._books.is_clear

    async def _work(self) -> None:
        while not self._is_done:
            self._look.clear()
            if self._books.error is not None:
                raise self._books.error
            if self._has_work and not self._is_open:
                await self._open()
                self.wake()
            else:
                await self._look.wait()
        if self._books.error is not None:
            raise self._books.error

    async def _open(self) -> None:
        reason = ""
        if self._session is not None:
            await self._session.wait_closed()
            reason, self._session = self._session.reason, None
        if not self._has_work:
            return
        self._opening = asyncio.create_task(self._reconnector.open(reason))
        try:
            await asyncio.wait({self._opening})
            self._session = None if self._opening.cancelled() else self._opening.result()
        finally:
            self._opening.cancel()
            await asyncio.wait({self._opening})
            self._opening = None

    # -------------------------------------------------------------- what can be done now

    def wake(self) -> None:
        """Something changed: write what may go, begin a turn if one is due."""
        now = self._loop.time()
        if self._is_stopping:
            # Again and again: the last part of a message that the SMSC had may just be refused.
            self._give_back(begun=False)
        pause = self._write(now)
        room = min(self._room(now), len(self._intake))
        if self._books.wants_turn(room):
            self._books.turn(self._intake.take(room))
        self._sleep(now, pause)
        if self._opening is not None and not self._has_work:
            self._opening.cancel()
        if not self._is_open or self._is_done or self._books.error is not None:
            self._look.set()

    def _write(self, now: float) -> float | None:
        """Write what may go; seconds until more may, None when something else must happen first."""
        session = self._session
        if session is None or not session.is_writable:
            return None
        free = min(self._pace.window - session.in_flight, self._pace.allowance(now))
        parts: list[Part] = []
        for part in self._backlog.ready(now) if free > 0 else ():
            if part.message.is_spoiled:
                reason = "another part of the message was refused"
                self._record(part, _lost(OutcomeKind.UNSENT, reason))
                continue
            part.message.handed += 1
            parts.append(part)
            if len(parts) == free:
                break
        if parts:
            self._pace.spend(len(parts))
            session.submit(parts)
        return self._pause(session, now)

    def _pause(self, session: Session, now: float) -> float | None:
        if session.in_flight >= self._pace.window:
            return None
        ready = self._backlog.wait(now)
        if ready is None:
            # Nothing is admitted in a back-off, and it ends by time alone.
            return self._pace.wait(now) if len(self._intake) else None
        return max(ready, self._pace.wait(now))

    def _sleep(self, now: float, pause: float | None) -> None:
        """Come back after ``pause``; a pause that is no more is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if pause:
            self._timer = self._loop.call_at(now + pause, self.wake)

    def _room(self, now: float) -> int:
        """How many messages may be intended: as many as can be written at once."""
        session = self._session
        if self._is_stopping or session is None or not session.is_writable:
            return 0
        coming = self._books.coming
        waiting = session.in_flight + len(self._backlog) + coming
        return max(
            0,
            min(
                self._books.room,
                self._pace.window - waiting,
                self._pace.soon(now) - self._backlog.fresh - coming,
            ),
        )

    def _admitted(self, messages: Sequence[SmsInFlight]) -> None:
        for message in messages:
            if message.refusal is None:
                self._backlog.add(message.parts())
            else:
                self._finish(message)
        self.wake()


def _lost(kind: OutcomeKind, reason: str) -> Outcome:
    return Outcome(
        kind=kind, text=reason, failure_class=FailureClass.CONNECTION, charges_attempt=False
    )
