"""Lets a message go only when its price is held in every budget that it falls under.

Messages are taken some hundred ahead, each is priced as it will go out, and their money is held in
one transaction; what became of them is settled with the next one. A message whose money is not to
be had goes back to the ledger as it came. What is held and not used is given back at the end; what
a killed sender held the ledger tells (:mod:`ignition_ext.costs.holds`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ignition_ext.channels.transport import Journal
from ignition_ext.costs.accounts import Accounts, Buyer, Spent, Want
from ignition_ext.costs.telling import Shortage
from ignition_ext.delivery.envelopes import Take
from ignition_ext.delivery.local_time import Clock
from ignition_ext.errors import BudgetExhausted, ChannelError, DatabaseError
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Delivery, FailureClass, MessageId, Outcome, OutcomeKind

AHEAD = 200
"""Messages whose money is held at once: one small transaction for each of them at most speeds, and
a slow sender keeps little from the others."""
_TAKEN = frozenset({OutcomeKind.ACCEPTED, OutcomeKind.UNCERTAIN})
"""What a server took, or may have taken, is charged."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a message will cost: ``micros`` for each of its segments; None without a price."""

    segments: int
    micros: int | None


class Pricing(Protocol):
    """Prices messages before they are sent."""

    def quote(self, message: ClaimedMessage) -> Quote | None:
        """What it will cost; None for one that cannot be made: it will not be sent either."""
        ...


@dataclass(slots=True)
class _Held:
    """Money that is held for a message, in a period that ends at ``until``."""

    quote: Quote
    until: datetime | None
    is_intended: bool = False


class Till(Journal):
    """Between the claims of one batch and what makes and sends their messages.

    Args:
        accounts: where money is held.
        buyer: this sender.
        pricing: prices messages.
        now: the present, by the database's clock.
        take: the next claimed message.
        journal: where the claims are journalled.

    Attributes:
        shortage: why it lets no more through, where money is short.
    """

    def __init__(
        self,
        accounts: Accounts,
        buyer: Buyer,
        pricing: Pricing,
        now: Clock,
        take: Take,
        journal: Journal,
    ) -> None:
        self._accounts, self._buyer, self._pricing = accounts, buyer, pricing
        self._now, self._take, self._journal = now, take, journal
        self._turn = asyncio.Lock()
        self._ready: deque[ClaimedMessage] = deque()
        self._held: dict[MessageId, _Held] = {}
        self._settled: list[Spent] = []
        self._is_over = False
        self.shortage: ChannelError | None = None

    async def has_any(self) -> bool:
        """Whether anything of the batch may go out now: else the server need not be asked."""
        async with self._turn:
            await self._fill()
            return bool(self._ready)

    async def take(self) -> ClaimedMessage | None:
        """The next message whose money is held; None when there is none left."""
        async with self._turn:
            await self._fill()
            return self._ready.popleft() if self._ready else None

    async def _fill(self) -> None:
        while not self._ready and not self._is_over:
            group = await self._read()
            unpriced = [one for one, quote in group if _lacks_price(quote)]
            if unpriced:
                await self._journal.settle([_unpriced(message) for message in unpriced])
            await self._buy([(one, quote) for one, quote in group if not _lacks_price(quote)])

    async def _read(self) -> list[tuple[ClaimedMessage, Quote | None]]:
        group: list[tuple[ClaimedMessage, Quote | None]] = []
        while len(group) < AHEAD:
            message = await self._take()
            if message is None:
                self._is_over = True
                break
            group.append((message, self._pricing.quote(message)))
        return group

    async def _buy(self, group: Sequence[tuple[ClaimedMessage, Quote | None]]) -> None:
        wants = [
            Want(message_id=message.id, segments=quote.segments, micros=_total(quote))
            for message, quote in group
            if quote is not None and _total(quote)
        ]
        if not wants:
            self._ready.extend(message for message, _ in group)
            return
        told = len(self._settled)
        grant = await self._accounts.reserve(self._buyer, wants, self._settled[:told])
        del self._settled[:told]  # others may have come meanwhile
        bought = {want.message_id for want in wants[: grant.count]}
        for message, quote in group:
            if quote is not None and _total(quote):
                if message.id not in bought:
                    break  # it and those behind it stay in the ledger
                self._held[message.id] = _Held(quote, grant.until)
            self._ready.append(message)
        if grant.shortage is not None:
            self._is_over = True
            self.shortage = exhausted(grant.shortage)

    # the journal

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Record intents, but of those whose money was of a period that is over."""
        return await self.turn((), ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Record results."""
        await self.turn(deliveries, ())

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Settle some, and intend those of the others whose money is still good."""
        now = self._now()
        good = [key for key in ids if self._is_good(key, now)]
        granted = await self._journal.turn(deliveries, good)
        for key in ids:
            if (held := self._held.get(key)) is None:
                continue
            if key in granted:
                held.is_intended = True
            else:
                self._settle(key, 0)
        for delivery in deliveries:
            if (held := self._held.get(delivery.message_id)) is not None:
                self._settle(delivery.message_id, _spent(delivery, held.quote))
        return granted

    def _is_good(self, key: MessageId, now: datetime) -> bool:
        held = self._held.get(key)
        return held is None or held.until is None or now < held.until

    def _settle(self, key: MessageId, micros: int) -> None:
        del self._held[key]
        self._settled.append(Spent(message_id=key, micros=micros))

    async def close(self) -> None:
        """Settle the rest, and give back what was held and not used."""
        unused = [key for key, held in self._held.items() if not held.is_intended]
        for key in unused:
            self._settle(key, 0)
        try:
            await self._accounts.settle(self._buyer, self._settled)
        except DatabaseError as error:
            # The ledger says what each came to, as it does for a sender that was killed.
            _log.warning("money of %d messages is settled later: %s", len(self._settled), error)


def exhausted(shortage: Shortage) -> BudgetExhausted:
    """What a sender says that has no money for its next message."""
    return BudgetExhausted(
        f"{shortage.text}.",
        retry_after=shortage.retry_after,
        mend="It goes on by itself when the budget allows, or when it is raised.",
    )


def _lacks_price(quote: Quote | None) -> bool:
    return quote is not None and quote.micros is None


def _total(quote: Quote) -> int:
    return quote.segments * (quote.micros or 0)


def _spent(delivery: Delivery, quote: Quote) -> int:
    """What a message came to: each segment that was taken, or all where it has none."""
    if not delivery.parts:
        return _total(quote) if delivery.outcome.kind in _TAKEN else 0
    taken = sum(part.outcome.kind in _TAKEN for part in delivery.parts)
    return taken * (quote.micros or 0)


def _unpriced(message: ClaimedMessage) -> Delivery:
    outcome = Outcome(
        kind=OutcomeKind.REJECTED,
        failure_class=FailureClass.CONFIGURATION,
        text="a budget is set, and the rate card has no price for this number",
    )
    return Delivery(message_id=message.id, outcome=outcome)


@asynccontextmanager
async def open_till(
    accounts: Accounts,
    buyer: Buyer,
    pricing: Pricing,
    now: Clock,
    take: Take,
    journal: Journal,
) -> AsyncIterator[Till]:
    """A till for one batch; its money is settled at the end."""
    till = Till(accounts, buyer, pricing, now, take, journal)
    try:
        yield till
    finally:
        await asyncio.shield(till.close())
