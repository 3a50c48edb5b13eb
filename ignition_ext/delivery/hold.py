"""Keeps messages from going out in their recipients' quiet hours, whatever brought them there.

A run that goes on into the night, a retry that falls due in it, one that was paused and is resumed
then: each claim is looked at before a message is made, and each message again when its first byte
is about to be written. What may not go is given back to the ledger, to be claimed when the quiet
hours are over; nothing of it was on the wire, so no attempt is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from ignition_ext.channels.transport import Journal
from ignition_ext.database import Database
from ignition_ext.delivery.batch import HoldMaker
from ignition_ext.delivery.envelopes import Take
from ignition_ext.delivery.local_time import Clock, LocalTime, Zones, database_clock
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind

BACK_AT_ONCE = 500
"""Messages that go back in one transaction: a sender that waits for a row waits for that long."""
_SPARE = timedelta(milliseconds=10)
"""The ledger adds to its own clock, to the millisecond: never to a moment before the end."""


class Hold(Journal):
    """Between the claims of one batch and what makes and sends their messages.

    Args:
        rules: the campaign's.
        now: the present, by the database's clock.
        take: the next claimed message.
        journal: where the claims are journalled.
    """

    def __init__(self, rules: LocalTime, now: Clock, take: Take, journal: Journal) -> None:
        self._rules, self._now, self._take, self._journal = rules, now, take, journal
        self._zones: dict[MessageId, Zones] = {}
        self._first: ClaimedMessage | None = None

    async def has_any(self) -> bool:
        """Whether anything of the batch may go out now: else the server need not be asked."""
        self._first = await self._next()
        return self._first is not None

    async def take(self) -> ClaimedMessage | None:
        """The next message that may go out now; None when there is none left."""
        first, self._first = self._first, None
        return first or await self._next()

    async def _next(self) -> ClaimedMessage | None:
        back: list[Delivery] = []
        try:
            while (message := await self._take()) is not None:
                zones = self._rules.zones(
                    message.channel, message.address, message.timezone, message.data
                )
                now = self._now()
                until = self._rules.held_until(now, zones)
                if until is None:
                    self._zones[message.id] = zones
                    return message
                back.append(_held(message.id, until, now))
                if len(back) >= BACK_AT_ONCE:
                    given, back = back, []
                    await self._journal.settle(given)
            return None
        finally:
            if back:
                await self._journal.settle(back)

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Record intents, but of those whose quiet hours have begun meanwhile."""
        return await self.turn((), ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Record results."""
        await self.turn(deliveries, ())

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Settle some, intend those of the others that may go out, and give back the rest."""
        now = self._now()
        back = [
            _held(key, until, now)
            for key in ids
            if (zones := self._zones.get(key)) is not None
            and (until := self._rules.held_until(now, zones)) is not None
        ]
        for delivery in (*deliveries, *back):
            self._zones.pop(delivery.message_id, None)
        if not back:
            return await self._journal.turn(deliveries, ids)
        held = {delivery.message_id for delivery in back}
        return await self._journal.turn(
            [*deliveries, *back], [key for key in ids if key not in held]
        )


def _held(key: MessageId, until: datetime, now: datetime) -> Delivery:
    outcome = Outcome(
        kind=OutcomeKind.UNSENT,
        text=f"held for quiet hours until {until:%Y-%m-%d %H:%M} UTC",
        retry_after=until - now + _SPARE,
        charges_attempt=False,
    )
    return Delivery(message_id=key, outcome=outcome)


async def hold_of(database: Database, plan: CampaignPlan) -> HoldMaker | None:
    """What keeps a batch of the campaign from its recipients' quiet hours; None without any."""
    quiet = plan.stored.definition.delivery.quiet_hours
    if quiet is None:
        return None
    rules = LocalTime(plan.stored.tenant.timezone, quiet=quiet)
    return partial(Hold, rules, await database_clock(database))
