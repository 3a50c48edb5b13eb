"""Turns an audience into the messages of a run, a batch at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

import phonenumbers

from ignition_ext.delivery.local_time import LocalTime, Zones
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.values import Channel, Recipient


@dataclass(slots=True)
class Intake:
    """Counts while the audience streams by; ``skipped`` have no address for the channel."""

    taken: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Rules of the hour for the messages of one run.

    Attributes:
        rules: the campaign's.
        begin: when the run was to begin.
        now: the present, by the database's clock.
    """

    rules: LocalTime
    begin: datetime
    now: Callable[[], datetime]

    def held(self, message: NewMessage) -> NewMessage:
        """The same message, held until it may go out."""
        not_before = self.until(self.zones(message))
        return message if not_before is None else replace(message, not_before=not_before)

    def zones(self, message: NewMessage) -> Zones:
        """Where its recipient may be."""
        return self.rules.zones(message.channel, message.address, message.timezone, message.data)

    def until(self, zones: Zones) -> datetime | None:
        """From when on who lives there may be written to; None: at once."""
        return self.rules.first(self.begin, self.now(), zones)


async def messages_of(
    batches: AsyncIterator[Sequence[Recipient]],
    channel: Channel,
    intake: Intake,
    *,
    limit: int | None = None,
    hours: Hours | None = None,
) -> AsyncIterator[Sequence[NewMessage]]:
    """The messages for an audience; ends after ``limit`` of them."""
    async for batch in batches:
        messages = []
        for recipient in batch:
            if limit is not None and intake.taken >= limit:
                break
            message = message_for(recipient, channel)
            if message is None:
                intake.skipped += 1
                continue
            intake.taken += 1
            messages.append(message if hours is None else hours.held(message))
        if messages:
            yield messages
        if limit is not None and intake.taken >= limit:
            return


def message_for(recipient: Recipient, channel: Channel) -> NewMessage | None:
    """One recipient's message, None without an address for the channel."""
    match channel:
        case Channel.EMAIL:
            address = recipient.email
            domain = address.rpartition("@")[2] if address else ""
        case Channel.SMS:
            address = recipient.phone
            domain = country_code(address) if address else ""
        case _:
            assert_never(channel)
    if not address:
        return None
    return NewMessage(
        channel=channel,
        address=address,
        domain=domain,
        locale=recipient.locale,
        timezone=recipient.timezone,
        data=recipient.data,
    )


def country_code(phone: str) -> str:
    """The country calling code of an E.164 number, without ``+``; empty when unknown."""
    try:
        return str(phonenumbers.parse(phone).country_code)
    except phonenumbers.NumberParseException:
        return ""
