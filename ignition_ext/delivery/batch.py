"""Sends one batch of a run: claim, render, hand to the transport, settle, return the rest.

Knows neither Prefect nor the channels: what a message looks like is the workshop's business, how
it travels the transport's, what becomes of it the ledger's.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar, assert_never

from ignition_ext.channels.transport import Journal, Transport
from ignition_ext.delivery.envelopes import EnvelopeFeed, Workshop
from ignition_ext.delivery.lease import kept_lease
from ignition_ext.errors import ChannelError
from ignition_ext.ledger.contract import Lease, Ledger, RetryPolicy
from ignition_ext.ledger.journal import LedgerJournal
from ignition_ext.values import (
    OPEN_STATES,
    Delivery,
    MessageId,
    MessageState,
    RunRef,
    RunState,
)

EnvelopeT = TypeVar("EnvelopeT")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much one batch takes, how long it owns it, and how often it looks for a stop."""

    messages: int
    lease: timedelta
    look_every: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender(Generic[EnvelopeT]):
    """What a batch is sent with.

    Attributes:
        workshop: renders and composes.
        connect: a transport for this batch; told whether it is the last one that can be seen
            from here, so that an SMS transport lingers for receipts.
        bind: names the way for the receipts to come (``host:port/system_id``), empty for email.
    """

    workshop: Workshop[EnvelopeT]
    connect: Callable[[bool], Transport[EnvelopeT]]
    retry: RetryPolicy
    bind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What one batch came to, and how the whole run stands after it.

    Attributes:
        claimed: messages that this batch leased.
        settled: new states that this batch gave, by state.
        released: messages that were leased, not sent, and given back.
        counts: the run's messages by state afterwards.
        next_at: when something more can be sent; None when nothing is left to wait for.
        run_state: what the operator asks of the run.
        error: the server refused us as a whole.
    """

    claimed: int
    settled: Mapping[MessageState, int] = field(default_factory=dict)
    released: int = 0
    counts: Mapping[MessageState, int]
    next_at: datetime | None
    run_state: RunState
    error: ChannelError | None = None
    seconds: float = 0.0

    @property
    def got_on(self) -> bool:
        """Whether the server judged a message; one that was given back is pending again."""
        return any(
            count for state, count in self.settled.items() if state is not MessageState.PENDING
        )

    @property
    def open(self) -> int:
        """Messages that still need a sender."""
        return sum(self.counts.get(state, 0) for state in OPEN_STATES)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do for a sender of this run."""
        match self.run_state:
            case RunState.OPEN | RunState.PAUSED:
                return self.open == 0
            case RunState.CANCELLED | RunState.COMPLETED | RunState.FAILED:
                return True
            case _:
                assert_never(self.run_state)


async def deliver_batch(
    ledger: Ledger,
    run: RunRef,
    sender: Sender[EnvelopeT],
    limits: BatchLimits,
    *,
    stop: asyncio.Event,
    on_progress: Callable[[Mapping[MessageState, int]], None] | None = None,
) -> BatchResult:
    """Send one batch and account for every message of it, whatever happens.

    ``stop`` ends the batch early: what is on the wire is drained, the rest given back.
    """
    began = time.monotonic()
    lease = await ledger.claim(run, limit=limits.messages, lease=limits.lease)
    if not lease.messages:
        counts = await ledger.counts(run)
        return BatchResult(
            claimed=0,
            counts=counts,
            next_at=_next_at(lease, counts, limits),
            run_state=lease.run_state,
        )
    journal = LedgerJournal(ledger, run, lease.id, sender.retry, bind=sender.bind)
    at_claim = await ledger.counts(run)
    watched: Journal = _Told(journal, at_claim, on_progress) if on_progress else journal
    last = not (at_claim[MessageState.PENDING] or at_claim[MessageState.DEFERRED])
    released = 0
    try:
        error, run_state = await _send(ledger, run, sender, limits, lease, watched, stop, last=last)
    finally:
        # Also when this very task is being cancelled: a batch that is given back can be sent by
        # the next one at once, one that is not has to wait for its lease to lapse.
        released = await asyncio.shield(ledger.release(run, lease.id))
    counts = await ledger.counts(run)
    return BatchResult(
        claimed=len(lease.messages),
        settled=dict(journal.settled),
        released=released,
        counts=counts,
        next_at=_next_at(lease, counts, limits),
        run_state=run_state,
        error=error,
        seconds=time.monotonic() - began,
    )


async def _send(
    ledger: Ledger,
    run: RunRef,
    sender: Sender[EnvelopeT],
    limits: BatchLimits,
    lease: Lease,
    journal: Journal,
    stop: asyncio.Event,
    *,
    last: bool,
) -> tuple[ChannelError | None, RunState]:
    async with kept_lease(
        ledger,
        run,
        lease.id,
        state=lease.run_state,
        duration=limits.lease,
        look_every=limits.look_every,
        stop=stop,
    ) as watch:
        feed = EnvelopeFeed(lease.messages, sender.workshop, journal, stop.is_set)
        try:
            await sender.connect(last).deliver(feed, journal, stop)
        except ChannelError as error:
            return error, watch.state
        return None, watch.state


def _next_at(
    lease: Lease, counts: Mapping[MessageState, int], limits: BatchLimits
) -> datetime | None:
    """When to look again: now after a batch, at the ledger's word, or when a lease can lapse."""
    now = datetime.now(UTC)
    if not any(counts[state] for state in OPEN_STATES):
        return None
    if lease.messages:
        return now  # the next claim knows what this batch left
    # What another sender holds comes free when it is done, or when its lease lapses: should it be
    # dead, nobody else would send the rest.
    due = [at for at in (lease.next_at, lease.lapses_at) if at is not None]
    return min(due, default=now + limits.look_every)


class _Told:
    """A journal that tells how the run stands after each settled group."""

    def __init__(
        self,
        journal: LedgerJournal,
        at_claim: Mapping[MessageState, int],
        tell: Callable[[Mapping[MessageState, int]], None],
    ) -> None:
        self._journal = journal
        self._at_claim = at_claim
        self._tell = tell

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        return await self._journal.intend(ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        await self.turn(deliveries, ())

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        granted = await self._journal.turn(deliveries, ids)
        # The other senders' work is left out until the batch's end: a count costs a query.
        settled = self._journal.settled
        now = Counter(self._at_claim)
        now.update(settled)
        now[MessageState.CLAIMED] = max(0, now[MessageState.CLAIMED] - settled.total())
        self._tell(now)
        return granted
