"""The messages of one batch: claimed a portion at a time, and journalled under their own lease.

The next portion is claimed while the one before is being sent, so that the connections never wait
for a claim; and no more than is soon needed is claimed, so that other senders find work, and a
killed sender leaves little to wait for.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from ignition_ext.channels.transport import Journal
from ignition_ext.ledger.contract import ClaimedMessage, Ledger, RetryPolicy
from ignition_ext.ledger.journal import LedgerJournal
from ignition_ext.values import Delivery, LeaseId, MessageId, MessageState, RunRef, RunState

PORTION = 1000
"""Messages in one claim: a second's work at most speeds, and far from what memory minds."""
SHARED_PORTION = 250
"""The same where several senders share a run: near its end none holds what another could send."""


@dataclass(eq=False, slots=True)
class _Portion:
    """One claim: its journal, and how many of its messages are not settled yet."""

    lease: LeaseId
    journal: LedgerJournal
    unsettled: int


class Claims(Journal):
    """What a batch may send, and where its sender writes down what it does.

    Args:
        ledger: where messages are claimed.
        run: their run.
        retry: decides on refused ones.
        bind: names the way for receipts to come, empty for email.
        most: messages that the batch may claim in all.
        portion: messages in one claim; with half of them left the next one is claimed.
        duration: of each lease.
        tell: called with the messages' new states (all so far) after each stored group.

    Attributes:
        claimed: messages so far.
        next_at: see :class:`~ignition_ext.ledger.contract.Lease`, of the last claim.
        lapses_at: the same.
        run_state: what the operator asks, as last read.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: RunRef,
        retry: RetryPolicy,
        *,
        bind: str,
        most: int,
        portion: int,
        duration: timedelta,
        tell: Callable[[], None] | None = None,
    ) -> None:
        self._ledger, self._run, self._retry, self._bind = ledger, run, retry, bind
        self._left, self._portion, self._duration, self._tell = most, portion, duration, tell
        self._ready: deque[ClaimedMessage] = deque()
        self._portions: dict[LeaseId, _Portion] = {}
        self._homes: dict[MessageId, _Portion] = {}
        self._claiming: asyncio.Task[None] | None = None
        self._ended: Counter[MessageState] = Counter()
        self.claimed = 0
        self.next_at: datetime | None = None
        self.lapses_at: datetime | None = None
        self.run_state = RunState.OPEN

    @property
    def settled(self) -> Counter[MessageState]:
        """Messages settled so far, by their new state."""
        return sum((portion.journal.settled for portion in self._portions.values()), self._ended)

    async def prepare(self) -> None:
        """Claim the first portion."""
        await self._claim()

    async def look(self) -> None:
        """Claim nothing; learn what the operator asks, and expire what is past its deadline."""
        self._left = 0
        lease = await self._ledger.claim(self._run, limit=0, lease=self._duration)
        self.next_at, self.lapses_at = lease.next_at, lease.lapses_at
        self.run_state = lease.run_state

    async def take(self) -> ClaimedMessage | None:
        """The next message; None when nothing is due or the batch is full."""
        while not self._ready:
            if self._left <= 0:
                return None
            await self._claim()
        message = self._ready.popleft()
        if 2 * len(self._ready) <= self._portion and self._left > 0 and self._claiming is None:
            self._start_claim()
        return message

    async def renew(self) -> RunState:
        """Extend every lease; returns what the operator asks of the run."""
        for lease in list(self._portions):
            self.run_state = await self._ledger.renew(self._run, lease, self._duration)
        return self.run_state

    async def release(self) -> int:
        """Claim no more, and give back what was not sent; returns how many."""
        self._left = 0
        self._ready.clear()
        if self._claiming is not None:
            with suppress(Exception):  # take() told it; nothing was claimed
                await asyncio.shield(self._claiming)
            self._ready.clear()
        released = 0
        for portion in list(self._portions.values()):
            released += await self._end(portion)
        return released

    # the journal

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Record intents; returns those that may go out."""
        return await self.turn((), ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Record results; when it returns they are stored."""
        await self.turn(deliveries, ())

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Settle some and intend others, each under the lease that it was claimed with.

        In one transaction where they are of one lease. Of several, the results come first: an
        intent that were stored before the result whose place it takes would break the bound on
        what a killed sender leaves behind.
        """
        home = self._home_of_all(deliveries, ids)
        if home is not None:
            granted = await self._turn(home, deliveries, ids)
        else:
            granted = await self._turn_each(deliveries, ids)
        if deliveries and self._tell is not None:
            self._tell()
        return granted

    def _home_of_all(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> _Portion | None:
        """The portion that all of these are of; None where there is no such one."""
        homes = self._homes
        found = {homes.get(delivery.message_id) for delivery in deliveries}
        found.update([homes.get(key) for key in ids])
        return found.pop() if len(found) == 1 else None

    async def _turn_each(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        homes = self._homes
        results: dict[_Portion, list[Delivery]] = {}
        intents: dict[_Portion, list[MessageId]] = {}
        for delivery in deliveries:
            results.setdefault(homes[delivery.message_id], []).append(delivery)
        for key in ids:
            if (home := homes.get(key)) is not None:  # refused before: it is refused again
                intents.setdefault(home, []).append(key)
        if intents and len(results | intents) > 1:
            await asyncio.gather(*(self._turn(one, group, ()) for one, group in results.items()))
            results = {}
        granted = await asyncio.gather(
            *(
                self._turn(one, results.get(one, ()), intents.get(one, ()))
                for one in results | intents
            )
        )
        return frozenset().union(*granted)

    async def _turn(
        self, portion: _Portion, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        granted = await portion.journal.turn(deliveries, ids)
        for delivery in deliveries:
            # Where it may be sent again, a later claim may have taken it in already.
            if self._homes.get(delivery.message_id) is portion:
                del self._homes[delivery.message_id]
        portion.unsettled -= len(deliveries)
        for key in ids:
            if key not in granted and self._homes.get(key) is portion:
                del self._homes[key]  # not ours any more; should it be again, it is taken anew
                portion.unsettled -= 1
        return granted

    # claiming

    def _start_claim(self) -> None:
        self._claiming = asyncio.create_task(self._claim_portion(), name="ledger-claim")

    async def _claim(self) -> None:
        if self._claiming is None:
            self._start_claim()
        assert self._claiming is not None
        await asyncio.shield(self._claiming)

    async def _claim_portion(self) -> None:
        try:
            await self._end_settled()
            if self._left <= 0:
                return  # the batch was ended meanwhile
            lease = await self._ledger.claim(
                self._run, limit=min(self._portion, self._left), lease=self._duration
            )
            self.next_at, self.lapses_at = lease.next_at, lease.lapses_at
            self.run_state = lease.run_state
            self._left -= len(lease.messages)
            if not lease.messages:
                self._left = 0
                return
            journal = LedgerJournal(self._ledger, self._run, lease.id, self._retry, bind=self._bind)
            portion = _Portion(lease.id, journal, len(lease.messages))
            self._portions[lease.id] = portion
            fresh = [message for message in lease.messages if not self._has_moved(message.id)]
            self._homes.update((message.id, portion) for message in lease.messages)
            self.claimed += len(fresh)
            self._ready.extend(fresh)
        finally:
            self._claiming = None

    def _has_moved(self, key: MessageId) -> bool:
        """Whether we hold this message under an older lease, which lapsed, and claimed it again.

        The copy that is under way goes out under the new lease; a second one beside it might be
        intended in the same turn, and both would be sent.
        """
        before = self._homes.get(key)
        if before is not None:
            before.unsettled -= 1
        return before is not None

    async def _end_settled(self) -> None:
        """Leave leases of which nothing is left."""
        for portion in list(self._portions.values()):
            if not portion.unsettled:
                await self._end(portion)

    async def _end(self, portion: _Portion) -> int:
        released = await self._ledger.release(self._run, portion.lease)
        if self._portions.pop(portion.lease, None) is not None:
            self._ended.update(portion.journal.settled)
        return released
