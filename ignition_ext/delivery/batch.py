"""Sends one batch of a run: claim, render, hand to the transport, settle, return the rest.

Knows neither Prefect nor the channels: what a message looks like is the workshop's business, how
it travels the transport's, what becomes of it the ledger's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar, assert_never

from ignition_ext.channels.transport import Journal, Transport
from ignition_ext.delivery.claims import PORTION, Claims
from ignition_ext.delivery.envelopes import EnvelopeFeed, Take, Workshop
from ignition_ext.delivery.gate import Gated, GateMaker, Ungated
from ignition_ext.delivery.lease import kept_leases
from ignition_ext.delivery.tally import Tally
from ignition_ext.errors import ChannelError, MustWait
from ignition_ext.ledger.contract import ClaimedMessage, Ledger, RetryPolicy
from ignition_ext.values import OPEN_STATES, MessageState, RunRef, RunState

EnvelopeT = TypeVar("EnvelopeT")
EnvelopeT_co = TypeVar("EnvelopeT_co", covariant=True)
Admit = Callable[[], Awaitable[None]]


class Holding(Journal, Protocol):
    """What keeps messages back; it journals the others."""

    async def has_any(self) -> bool:
        """Whether anything of the batch may go out now."""
        ...

    async def take(self) -> ClaimedMessage | None:
        """The next message that may go out now."""
        ...


HoldMaker = Callable[[Take, Journal], Holding]


class Paying(Holding, Protocol):
    """What lets only that through whose price is held; ``shortage`` says why it stopped."""

    shortage: ChannelError | None


TillMaker = Callable[[Take, Journal], AbstractAsyncContextManager[Paying]]


class FeedMaker(Protocol[EnvelopeT_co]):
    """Makes a batch's envelopes elsewhere than where they are sent."""

    def __call__(
        self, take: Take, journal: Journal, stopped: Callable[[], bool], *, waiting: int
    ) -> AbstractAsyncContextManager[AsyncIterator[EnvelopeT_co]]:
        """The envelopes; ``waiting`` messages are still to be sent, about."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much one batch takes, how long it owns it, and how often it looks for a stop.

    Attributes:
        messages: of the whole batch.
        lease: how long they are owned without renewal.
        look_every: between two renewals, which also read what the operator asks.
        portion: messages in one claim of the batch.
    """

    messages: int
    lease: timedelta
    look_every: timedelta
    portion: int = PORTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender(Generic[EnvelopeT]):
    """What a batch is sent with.

    Attributes:
        workshop: renders and composes.
        connect: a transport for this batch; told whether it is the last one that can be seen
            from here, so that an SMS transport lingers for receipts.
        bind: names the way for the receipts to come (``host:port/system_id``), empty for email.
        admit: asks whether the server may be used, before anything is claimed.
        gate: puts the rates between the claimed messages and the transport.
        feed: builds the messages instead of ``workshop``; not used behind a gate, which wants
            each message to go out as soon as it let it through.
        hold: keeps messages back by the recipient's hour.
        till: holds the price of each message, where a budget is set.
    """

    workshop: Workshop[EnvelopeT]
    connect: Callable[[bool], Transport[EnvelopeT]]
    retry: RetryPolicy
    bind: str = ""
    admit: Admit | None = None
    gate: GateMaker | None = None
    feed: FeedMaker[EnvelopeT] | None = None
    hold: HoldMaker | None = None
    till: TillMaker | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What one batch came to, and how the whole run stands after it.

    Attributes:
        claimed: messages that this batch leased.
        settled: new states that this batch gave, by state.
        released: messages that were leased, not sent, and given back.
        counts: the run's messages by state afterwards, of a while ago where it goes on at once.
        next_at: when something more can be sent, by the database's clock; None when that is at
            once or nobody knows. :func:`ignition_ext.delivery.patience.time_left` says how long.
        run_state: what the operator asks of the run.
        error: the server refused us as a whole.
        rest: how long nothing may be sent, whatever is due: the server is left alone, or a rate
            is used up for long.
        others_hold: nothing was claimed, and other senders (or dead ones) hold some of the run.
        waits_for: what it waits for, where that is neither a server nor a message's own time.
    """

    claimed: int
    settled: Mapping[MessageState, int] = field(default_factory=dict)
    released: int = 0
    counts: Mapping[MessageState, int]
    next_at: datetime | None
    run_state: RunState
    error: ChannelError | None = None
    seconds: float = 0.0
    rest: timedelta = timedelta(0)
    others_hold: bool = False
    waits_for: str = ""

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
            case RunState.CANCELLED | RunState.COMPLETED | RunState.FAILED | RunState.SKIPPED:
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
    tally: Tally | None = None,
) -> BatchResult:
    """Send one batch and account for every message of it, whatever happens.

    ``stop`` ends the batch early: what is on the wire is drained, the rest given back. ``tally``
    may be used for several batches of a run, so that its messages need not be counted for each.
    """
    began = time.monotonic()
    tally = tally or Tally()
    claims = Claims(
        ledger,
        run,
        sender.retry,
        bind=sender.bind,
        most=limits.messages,
        portion=limits.portion,
        duration=limits.lease,
        tell=tally.tell,
    )
    error: ChannelError | None = None
    rest = timedelta(0)
    released = 0
    try:
        error = await _kept_away(sender)
        if error is not None:
            await claims.look()
        else:
            await claims.prepare()
        if claims.claimed:
            await tally.begin(ledger, run, claims)
            error, rest = await _send(sender, limits, claims, stop, tally)
    finally:
        # Also when this very task is being cancelled: a batch that is given back can be sent by
        # the next one at once, one that is not has to wait for its lease to lapse.
        released = await asyncio.shield(claims.release())
    goes_on = claims.claimed and claims.run_state is RunState.OPEN and not (error or rest)
    counts = await tally.end(ledger, run, claims, exact=not goes_on)
    return BatchResult(
        claimed=claims.claimed,
        settled=dict(claims.settled),
        released=released,
        counts=counts,
        next_at=_next_at(claims, counts),
        run_state=claims.run_state,
        error=error,
        seconds=time.monotonic() - began,
        rest=(error.retry_after or rest) if isinstance(error, MustWait) else rest,
        others_hold=not claims.claimed and claims.lapses_at is not None,
    )


async def _kept_away(sender: Sender[EnvelopeT]) -> ChannelError | None:
    try:
        if sender.admit is not None:
            await sender.admit()
    except ChannelError as error:
        return error
    return None


async def _send(
    sender: Sender[EnvelopeT],
    limits: BatchLimits,
    claims: Claims,
    stop: asyncio.Event,
    tally: Tally,
) -> tuple[ChannelError | None, timedelta]:
    async with kept_leases(
        claims.renew, duration=limits.lease, look_every=limits.look_every, stop=stop
    ):
        if sender.hold is None:
            return await _pay(sender, limits, claims.take, claims, stop, tally)
        hold = sender.hold(claims.take, claims)
        if not await hold.has_any():
            return None, timedelta(0)
        return await _pay(sender, limits, hold.take, hold, stop, tally)


async def _pay(
    sender: Sender[EnvelopeT],
    limits: BatchLimits,
    take: Take,
    journal: Journal,
    stop: asyncio.Event,
    tally: Tally,
) -> tuple[ChannelError | None, timedelta]:
    if sender.till is None:
        return await _deliver(sender, limits, take, journal, stop, tally)
    async with sender.till(take, journal) as till:
        if not await till.has_any():
            return till.shortage, timedelta(0)
        error, rest = await _deliver(sender, limits, till.take, till, stop, tally)
        return error or till.shortage, rest


async def _deliver(
    sender: Sender[EnvelopeT],
    limits: BatchLimits,
    take: Take,
    journal: Journal,
    stop: asyncio.Event,
    tally: Tally,
) -> tuple[ChannelError | None, timedelta]:
    last = _is_last(tally, limits)
    async with (
        _gate(sender, take, journal, stop) as gate,
        _feed(sender, gate, journal, stop, waiting=_waiting(tally)) as feed,
    ):
        try:
            await sender.connect(last).deliver(feed, journal, stop)
        except ChannelError as error:
            return error, timedelta(0)
        return None, timedelta(seconds=gate.resume_in or 0)


def _gate(
    sender: Sender[EnvelopeT], take: Take, journal: Journal, stop: asyncio.Event
) -> AbstractAsyncContextManager[Gated]:
    if sender.gate is None:
        return nullcontext(Ungated(take))
    return sender.gate(take, journal, stop)


def _feed(
    sender: Sender[EnvelopeT], gate: Gated, journal: Journal, stop: asyncio.Event, *, waiting: int
) -> AbstractAsyncContextManager[AsyncIterator[EnvelopeT]]:
    if sender.feed is None or sender.gate is not None:
        return nullcontext(EnvelopeFeed(gate.take, sender.workshop, journal, stop.is_set))
    return sender.feed(gate.take, journal, stop.is_set, waiting=waiting)


def _is_last(tally: Tally, limits: BatchLimits) -> bool:
    """Whether nothing will be left for another batch, as far as can be seen from here."""
    return _waiting(tally) <= limits.messages and not tally.counts[MessageState.DEFERRED]


def _waiting(tally: Tally) -> int:
    return tally.counts[MessageState.PENDING] + tally.counts[MessageState.CLAIMED]


def _next_at(claims: Claims, counts: Mapping[MessageState, int]) -> datetime | None:
    """When to look again, at the ledger's word or when a lease can lapse."""
    if claims.claimed or not any(counts[state] for state in OPEN_STATES):
        return None  # the next claim knows what this batch left
    # What another sender holds comes free when it is done, or when its lease lapses: should it be
    # dead, nobody else would send the rest.
    return min((at for at in (claims.next_at, claims.lapses_at) if at is not None), default=None)
