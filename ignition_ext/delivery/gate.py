"""Lets messages through as the rates allow, and those of a used-up domain wait beside the others.

A message needs a place of each rate that it falls under: its server's, tenant's and campaign's,
which all messages of a run share, and its recipient domain's. One whose domain has no place is
put aside and passed over; it goes when a place comes. What would wait for long goes back to the
ledger, to be claimed when its turn is near, so that neither a lease nor a worker waits for it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from heapq import heappop, heappush
from typing import Protocol

from ignition_ext.budgets.budget import Budget
from ignition_ext.budgets.purse import Purse
from ignition_ext.budgets.rate import Limit
from ignition_ext.channels.transport import Journal
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Delivery, FailureClass, Outcome, OutcomeKind

PATIENCE_SECONDS = 30.0
"""What has its place later goes back to the ledger. A batch that keeps less would end after
moments and begin anew; one that keeps more holds messages that another node could send."""
MOST_ASIDE = 2000
"""Messages put aside: two portions of a claim. The rest goes back to the ledger."""
UNANSWERED = 250
"""Messages whose domain's line is being asked. No more are read ahead meanwhile: places that come
before a message can be used would lapse."""
PASS_OVER = 1000
"""Messages in a row that go back to the ledger before the gate waits instead of reading on: where
all are of one domain, reading on would only move the whole audience through the ledger."""
BACK_AT_ONCE = 200
"""Messages that go back in one transaction while there are others to send."""
LONGEST_HOLD_SECONDS = 900.0
"""A message is held no longer than this at a time, so that a rate which is raised soon counts."""

Take = Callable[[], Awaitable[ClaimedMessage | None]]
DomainLimit = Callable[[str], Limit]


class Gated(Protocol):
    """What lets messages through.

    Attributes:
        resume_in: seconds until the common rates have a place, when it closed for that.
    """

    resume_in: float | None

    async def take(self) -> ClaimedMessage | None:
        """The next message that may go now."""
        ...


GateMaker = Callable[[Take, Journal, asyncio.Event], AbstractAsyncContextManager[Gated]]


class Ungated:
    """No rate at all."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self.resume_in: float | None = None

    async def take(self) -> ClaimedMessage | None:
        """The next message."""
        return await self._take()


@dataclass(slots=True)
class _Domain:
    """One domain's messages that wait, oldest first, and its purse.

    ``line_end`` is when the last message that went back to the ledger has its turn.
    """

    purse: Purse
    waiting: deque[ClaimedMessage]
    line_end: float = -math.inf


class Gate:
    """Between the claims of a batch and its transport.

    Args:
        budget: this process' share of the rates.
        common: rates that every message of the batch falls under.
        domain: the rate of a recipient domain, where there is one.
        take: the next claimed message.
        journal: where messages are given back.
        stop: ends all waiting.

    Attributes:
        resume_in: seconds until the common rates have a place, when the gate closed for that.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        common: Sequence[Limit],
        domain: DomainLimit | None,
        take: Take,
        journal: Journal,
        stop: asyncio.Event,
    ) -> None:
        self._budget, self._take, self._journal, self._stop = budget, take, journal, stop
        self._common = [budget.purse(one, patience=PATIENCE_SECONDS) for one in common]
        self._limit_of = domain
        self._domains: dict[str, _Domain] = {}
        self._by_key: dict[str, str] = {}
        self._forget_at = MOST_ASIDE
        self._ready: list[tuple[float, str]] = []
        self._aside = self._passed_over = 0
        self._unanswered: set[str] = set()
        self._back: list[Delivery] = []
        self._is_exhausted = False
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self.resume_in: float | None = None
        budget.listen(self._answered)

    async def take(self) -> ClaimedMessage | None:
        """The next message that may go now; None when there is none, or not for a long time."""
        async with self._turn:
            for purse in self._common:
                if not await self._pass(purse):
                    return None
            if self._limit_of is None:
                return await self._take()
            return await self._next(self._limit_of)

    async def _pass(self, purse: Purse) -> bool:
        """Wait for a place of a common rate; False when it is too far, or all is to stop."""
        if self.resume_in is not None:
            return False
        while (wait := self._budget.spend(purse)) > 0:
            far = purse.far(self._budget.clock())
            if far > PATIENCE_SECONDS:
                self.resume_in = far
                return False
            await self._pause(wait)
            if self._stop.is_set():
                return False
        return True

    async def _next(self, limit_of: DomainLimit) -> ClaimedMessage | None:
        while not self._stop.is_set():
            message = self._from_aside()
            if message is not None:
                return message
            if self._may_read():
                message = await self._take()
                if message is None:
                    self._is_exhausted = True
                elif self._admit(message, limit_of):
                    self._passed_over = 0
                    return message
                if len(self._back) >= BACK_AT_ONCE:
                    await self._give_back()
            elif self._back:
                await self._give_back()
            elif self._aside:
                due = self._ready[0][0] if self._ready else math.inf
                await self._pause(due - self._budget.clock())
            else:
                return None
        return None

    def _may_read(self) -> bool:
        if self._is_exhausted or len(self._unanswered) >= UNANSWERED:
            return False
        if self._unanswered and self._aside >= MOST_ASIDE:
            return False  # the answer, which comes in a moment, may let many of them go
        if not self._aside:
            self._passed_over = 0
        return self._passed_over < PASS_OVER

    def _admit(self, message: ClaimedMessage, limit_of: DomainLimit) -> bool:
        """Whether it may go at once; otherwise it is put aside or goes back."""
        domain = self._domain(message.domain, limit_of)
        now = self._budget.clock()
        if not domain.waiting and domain.purse.take(now) == 0:
            return True
        wait = self._wait_of_last(domain, now)
        if wait > PATIENCE_SECONDS or self._aside >= MOST_ASIDE:
            self._hold(domain, message, wait, now)
            return False
        domain.waiting.append(message)
        self._aside += 1
        domain.purse.needed = len(domain.waiting)
        if domain.purse.want(now):
            self._budget.ask(domain.purse)
            self._unanswered.add(message.domain)
        return False

    def _domain(self, name: str, limit_of: DomainLimit) -> _Domain:
        domain = self._domains.get(name)
        if domain is None:
            if len(self._domains) >= self._forget_at:
                self._forget_idle()
            limit = limit_of(name)
            purse = self._budget.purse(limit, patience=PATIENCE_SECONDS, exact=True)
            domain = self._domains[name] = _Domain(purse, deque())
            self._by_key[limit.key] = name
        return domain

    def _forget_idle(self) -> None:
        now = self._budget.clock()
        self._domains = {
            name: one
            for name, one in self._domains.items()
            if one.waiting or not one.purse.idle or one.line_end > now
        }
        self._by_key = {one.purse.limit.key: name for name, one in self._domains.items()}
        self._forget_at = max(MOST_ASIDE, 2 * len(self._domains))

    def _from_aside(self) -> ClaimedMessage | None:
        now = self._budget.clock()
        while self._ready and self._ready[0][0] <= now:
            _, name = heappop(self._ready)
            domain = self._domains.get(name)
            if domain is None or not domain.waiting:
                continue
            wait = domain.purse.take(now)
            if wait > 0:
                self._expect(name, domain, now)
                continue
            message = domain.waiting.popleft()
            self._aside -= 1
            domain.purse.needed = len(domain.waiting)
            if domain.waiting:
                self._expect(name, domain, now)
            return message
        return None

    def _expect(self, name: str, domain: _Domain, now: float) -> None:
        """See to it that the domain is looked at when its next place is due."""
        if domain.purse.want(now):
            self._budget.ask(domain.purse)
        if (due := domain.purse.next_due) is not None:
            heappush(self._ready, (due, name))

    def _answered(self, purses: Sequence[Purse]) -> None:
        now = self._budget.clock()
        for purse in purses:
            name = self._by_key.get(purse.limit.key)
            domain = None if name is None else self._domains.get(name)
            if name is None or domain is None:
                continue
            self._unanswered.discard(name)
            if not domain.waiting:
                continue
            if purse.far(now) > PATIENCE_SECONDS:
                self._hold_all(domain, now)
            else:
                self._expect(name, domain, now)
        self._wake.set()

    # giving back

    def _wait_of_last(self, domain: _Domain, now: float) -> float:
        """Seconds until one that comes now has its turn, were this the only sender."""
        due = domain.purse.next_due
        wait = domain.purse.far(now) if due is None else max(0.0, due - now)
        return wait + len(domain.waiting) / domain.purse.limit.rate

    def _hold_all(self, domain: _Domain, now: float) -> None:
        wait = domain.purse.far(now)
        while domain.waiting:
            self._aside -= 1
            self._hold(domain, domain.waiting.popleft(), wait, now)
        domain.purse.needed = 0

    def _hold(self, domain: _Domain, message: ClaimedMessage, wait: float, now: float) -> None:
        """Give it back, to come due with those that have their turn about the same time."""
        turn = max(domain.line_end - now, wait)
        domain.line_end = now + turn + 1 / domain.purse.limit.rate
        seconds = max(1.0, PATIENCE_SECONDS * (turn // PATIENCE_SECONDS))
        outcome = Outcome(
            kind=OutcomeKind.UNSENT,
            text=f"held for the rate of {message.domain}",
            failure_class=FailureClass.THROTTLED,
            retry_after=timedelta(seconds=min(seconds, LONGEST_HOLD_SECONDS)),
            charges_attempt=False,
        )
        self._back.append(Delivery(message_id=message.id, outcome=outcome))
        self._passed_over += 1

    async def _give_back(self) -> None:
        back, self._back = self._back, []
        await self._journal.settle(back)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until some places came, or the end."""
        self._wake.clear()
        if seconds <= 0 or self._stop.is_set():
            return
        timer = None
        if seconds < math.inf:
            timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def watch(self) -> None:
        """Wake whoever waits when all is to stop; runs beside :meth:`take` until cancelled."""
        await self._stop.wait()
        self._wake.set()


@asynccontextmanager
async def open_gate(
    budget: Budget,
    *,
    common: Sequence[Limit],
    domains: Sequence[DomainLimit],
    take: Take,
    journal: Journal,
    stop: asyncio.Event,
) -> AsyncIterator[Gate]:
    """A gate for one batch, with another one behind it for each further rate of domains.

    Unused places are given back at the end.
    """
    async with budget, AsyncExitStack() as watchers:
        for limit in domains[:-1]:
            inner = Gate(budget, common=(), domain=limit, take=take, journal=journal, stop=stop)
            await watchers.enter_async_context(_watched(inner))
            take = inner.take
        last = domains[-1] if domains else None
        gate = Gate(budget, common=common, domain=last, take=take, journal=journal, stop=stop)
        await watchers.enter_async_context(_watched(gate))
        yield gate


@asynccontextmanager
async def _watched(gate: Gate) -> AsyncIterator[None]:
    watcher = asyncio.create_task(gate.watch(), name="gate")
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])
