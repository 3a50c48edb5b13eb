"""One bind at work: takes messages, records the intent, writes parts, hears answers, reconnects.

Everything happens in one loop that sleeps until something changed; answers only note what they
say. A bind never has more messages intended and unsettled than its window is wide.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.classify import (
    NOT_BOUND,
    QUEUE_FULL,
    REFUSES_LOGIN,
    REFUSES_PROTOCOL,
    SLOW_DOWN,
    classify,
)
from ignition_ext.channels.smpp.intake import Intake
from ignition_ext.channels.smpp.message import Part, SmsInFlight
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.pace import Pace
from ignition_ext.channels.smpp.prepare import References, prepare
from ignition_ext.channels.smpp.reconnect import Reconnector
from ignition_ext.channels.smpp.session import Answer, NoAnswer, Session
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
    references: References

    def finish(self, worker: Worker, delivery: Delivery) -> None:
        """Take over a message whose outcome is known, to settle it."""
        ...

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Take over a deliver_sm or data_sm, to store and answer it."""
        ...


@dataclass(slots=True)
class _Again:
    """A part to be tried again, not before ``due``, in the order of the messages."""

    due: float
    order: int
    index: int
    part: Part
    outcome: Outcome

    def __lt__(self, other: _Again) -> bool:
        return (self.due, self.order, self.index) < (other.due, other.order, other.index)


class Worker:
    """Drains the intake through one bind."""

    def __init__(self, options: SmppOptions, office: Office) -> None:
        self._loop = asyncio.get_running_loop()
        self._options, self._office = options, office
        self._pace = Pace(options, self._loop.time)
        self._reconnector = Reconnector(options, self, self._loop.time)
        self._fresh: deque[Part] = deque()
        self._again: list[_Again] = []
        self._wake = asyncio.Event()
        self._unsettled = 0
        self._orders = 0
        self._is_stopping = self._is_keeping = False
        self._error: ChannelError | None = None
        self._opening: asyncio.Task[Session | None] | None = None
        self.session: Session | None = None

    # -------------------------------------------------------------- from outside

    def wake(self) -> None:
        """Something changed."""
        self._wake.set()

    def settled(self, count: int) -> None:
        """So many of this bind's messages are settled; the window has room again."""
        self._unsettled -= count
        self._wake.set()

    def stop(self) -> None:
        """Take nothing new, give back what was not begun, finish the rest."""
        self._is_stopping = True
        self._give_back(begun=False)
        self._leave_if_done()

    def hurry(self) -> None:
        """Stop waiting: what is unanswered now is uncertain."""
        self.stop()
        if self.session is not None:
            self.session.abort("stopped while answers were outstanding")
        self._give_back(begun=True)
        self._leave_if_done()

    async def run(self) -> None:
        """Work until nothing is left; the session stays open.

        Raises:
            ChannelError: no bind to be had; each message of this worker has its outcome.
        """
        try:
            while not self._is_done:
                self._wake.clear()
                if not await self._ensure_session():
                    continue
                self._write()
                room = self._room()
                if room > 0 and not self._office.intake.is_empty:
                    await self._admit(room)
                elif not self._is_done:
                    await self._sleep()
        except ChannelError:
            self.hurry()
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
            self._wake.clear()
            await self._ensure_session()
            await self._wake.wait()

    # -------------------------------------------------------------- what a session tells

    def answered(self, part: Part, answer: Answer | NoAnswer) -> None:
        """Note what came of a part."""
        self._wake.set()
        if isinstance(answer, NoAnswer):
            self._unanswered(part, answer)
            return
        self._reconnector.progress()
        outcome = classify(answer.status, answer.message_id)
        status = answer.status
        if status in SLOW_DOWN:
            self._pace.throttled()
            self._slowed_down(part, status, outcome)
            return
        self._pace.answered()
        if status in REFUSES_LOGIN | REFUSES_PROTOCOL:
            self._refused_as_a_whole(outcome)
        elif status in NOT_BOUND and self.session is not None:
            self.session.abort(outcome.text)
        is_mid_message = part.message.accepted and outcome.kind is OutcomeKind.DEFERRED
        if (is_mid_message or status in NOT_BOUND) and part.tries < _PART_TRIES:
            self._try_again(part, outcome, _PART_PAUSE)
        else:
            self._record(part, outcome)

    def delivered(self, session: Session, header: codec.Header, pdu: bytes) -> None:
        """Hand on a deliver_sm or data_sm."""
        self._office.delivered(session, header, pdu)

    def changed(self) -> None:
        """The session can take more, or nothing any more."""
        self._wake.set()

    # -------------------------------------------------------------- outcomes

    def _unanswered(self, part: Part, answer: NoAnswer) -> None:
        if answer.unsent and not self._is_stopping:
            self._fresh.appendleft(part)
            return
        kind = OutcomeKind.UNSENT if answer.unsent else OutcomeKind.UNCERTAIN
        self._record(part, _lost(kind, answer.reason))

    def _slowed_down(self, part: Part, status: int, outcome: Outcome) -> None:
        now = self._loop.time()
        if part.throttled_at is None:
            part.throttled_at = now
        is_patient = now - part.throttled_at < self._options.throttle_patience
        if status == QUEUE_FULL and part.tries >= _QUEUE_FULL_TRIES:
            is_patient = False
        if is_patient and (not self._is_stopping or part.message.accepted):
            self._try_again(part, outcome, 0)
        else:
            self._record(part, outcome)

    def _try_again(self, part: Part, outcome: Outcome, pause: float) -> None:
        part.tries += 1
        due = self._loop.time() + pause
        heappush(self._again, _Again(due, part.order, part.index, part, outcome))

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
        message = part.message
        message.record(part, outcome)
        if message.complete:
            self._office.finish(self, message.delivery())

    def _give_back(self, *, begun: bool) -> None:
        """Give outcomes to parts that wait; without ``begun`` only of messages not begun yet."""
        fresh, self._fresh = self._fresh, deque()
        for part in fresh:
            if begun or not part.message.started:
                self._record(part, _lost(OutcomeKind.UNSENT, "stopped before it was written"))
            else:
                self._fresh.append(part)
        again, self._again = self._again, []
        for entry in again:
            if begun or not entry.part.message.accepted:
                self._record(entry.part, entry.outcome)
            else:
                heappush(self._again, entry)

    # -------------------------------------------------------------- the loop

    @property
    def _is_done(self) -> bool:
        intake = self._office.intake
        no_more = self._is_stopping or (intake.is_exhausted and intake.is_empty)
        in_flight = self.session.in_flight if self.session is not None else 0
        if self._is_keeping:
            return False
        return no_more and not self._fresh and not self._again and not in_flight

    async def _ensure_session(self) -> bool:
        if self.session is not None:
            if self.session.is_open:
                return True
            await self.session.wait_closed()
            self.session = None
            if self._is_done:
                return False
        self._opening = asyncio.create_task(self._reconnector.open(self._pause))
        try:
            await asyncio.wait({self._opening})
            self.session = None if self._opening.cancelled() else self._opening.result()
        finally:
            self._opening.cancel()
            await asyncio.wait({self._opening})
            self._opening = None
        return self.session is not None

    def _leave_if_done(self) -> None:
        if self._opening is not None and self._is_done:
            self._opening.cancel()
        self._wake.set()

    async def _pause(self, seconds: float) -> bool:
        deadline = self._loop.time() + seconds
        while not self._is_done:
            left = deadline - self._loop.time()
            if left <= 0:
                return True
            self._wake.clear()
            await self._wait(left)
        return False

    def _room(self) -> int:
        """How many messages may be intended: as many as can be written at once."""
        if self._is_stopping or self.session is None or not self.session.is_writable:
            return 0
        waiting = self.session.in_flight + len(self._fresh) + len(self._again)
        return min(
            self._options.window - self._unsettled,
            self._pace.window - waiting,
            self._pace.soon() - len(self._fresh),
        )

    async def _admit(self, room: int) -> None:
        envelopes = self._office.intake.take(room)
        allowed = await self._office.journal.intend([one.message_id for one in envelopes])
        for envelope in envelopes:
            if envelope.message_id not in allowed:
                continue
            self._unsettled += 1
            submits = prepare(envelope, self._options, self._office.references)
            if isinstance(submits, Outcome):
                self._office.finish(self, Delivery(message_id=envelope.message_id, outcome=submits))
                continue
            self._orders += 1
            self._fresh.extend(SmsInFlight(envelope.message_id, submits, self._orders).parts)
        if self._is_stopping:
            self._give_back(begun=False)

    def _write(self) -> None:
        session = self.session
        while session is not None and session.is_writable:
            if session.in_flight >= self._pace.window or self._pace.wait() > 0:
                return
            part = self._next_part()
            if part is None:
                return
            if part.message.refused:
                reason = "another part of the message was refused"
                self._record(part, _lost(OutcomeKind.UNSENT, reason))
                continue
            part.message.started = True
            self._pace.spend()
            try:
                session.submit(part)
            except codec.FieldRefused as error:
                self._record(part, _unwritable(error))

    def _next_part(self) -> Part | None:
        if self._again and self._again[0].due <= self._loop.time():
            return heappop(self._again).part
        return self._fresh.popleft() if self._fresh else None

    async def _sleep(self) -> None:
        """Sleep until something changed, or until the pace or a pause lets the next part go."""
        now = self._loop.time()
        due = [max(self._again[0].due, now)] if self._again else []
        if self._fresh or not self._office.intake.is_empty:
            due.append(now)
        if not due:
            await self._wait(None)
            return
        seconds = max(min(due) - now, self._pace.wait())
        if seconds > 0:
            await self._wait(seconds)
        elif not self._has_place:
            await self._wait(None)  # an answer, a settlement or the socket will wake us
        # Otherwise the token came between the last write and now: write at once.

    @property
    def _has_place(self) -> bool:
        session = self.session
        if session is None or not session.is_writable:
            return False
        is_narrow = session.in_flight >= self._pace.window
        return not is_narrow and bool(self._fresh or self._again or self._room() > 0)

    async def _wait(self, seconds: float | None) -> None:
        timer = None if seconds is None else self._loop.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()


def _lost(kind: OutcomeKind, reason: str) -> Outcome:
    return Outcome(
        kind=kind, text=reason, failure_class=FailureClass.CONNECTION, charges_attempt=False
    )


def _unwritable(error: codec.FieldRefused) -> Outcome:
    return Outcome(kind=OutcomeKind.REJECTED, text=str(error), failure_class=FailureClass.CONTENT)
