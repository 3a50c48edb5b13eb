"""Makes every message of a campaign as a run would, and counts what a run would meet.

The workshop, the composer, the segmenter and the rules of the hour are those that send; nothing is
stored and nothing goes out. The audience streams by: what is kept are counts, the first problems,
some samples, and a hash of each address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ignition_ext.audience import Source
from ignition_ext.campaigns.legs import CampaignChannel
from ignition_ext.consent.forgotten import forgotten
from ignition_ext.consent.suppressions import chunks, suppressed_among
from ignition_ext.costs.card import Card
from ignition_ext.costs.sums import Cost
from ignition_ext.database import Database
from ignition_ext.delivery.legs import Routes, routes_of
from ignition_ext.delivery.local_time import Zones
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.pricing import price_of
from ignition_ext.delivery.recipients import Hours, message_for
from ignition_ext.delivery.report import shortened, without_addresses
from ignition_ext.errors import TemplateError
from ignition_ext.ledger.contract import ClaimedMessage, NewMessage
from ignition_ext.models import EstimateBasis
from ignition_ext.values import Channel, FailureClass, MessageId, Recipient, new_id

FIRST_PROBLEMS = 10
"""Recipients that are named: a template's mistake shows in each of them."""
FIRST_ROWS = 5
"""Rows that are named for each variable that some recipients have no value for."""


class RefusedContent(Exception):
    """The message could be made, and the server or the protocol would not take it."""


class Rehearsal(Protocol):
    """One channel's way from a recipient to the wire, without the wire."""

    def make(self, message: ClaimedMessage, found: Examined) -> Any:
        """The message as it would go out, counted in ``found``.

        Raises:
            TemplateError: it cannot be rendered for this recipient.
            ValueError: its address or a header cannot be put on the wire.
            RefusedContent: it is too long or too large.
        """
        ...

    def sample(self, made: Any) -> dict[str, Any]:
        """What a person wants to see of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """A recipient whose message cannot go out; ``row`` is the source's line, else its count."""

    row: int
    address: str
    failure_class: FailureClass
    reason: str


@dataclass(slots=True, kw_only=True)
class Examined:
    """What a run would meet.

    Attributes:
        recipients: that the audience has.
        taken: messages that a run would hold.
        messages: of these could be made and may be sent.
        unfit: by class: ``render``, ``address``, ``content``.
        skipped: recipients without an address for the channel.
        is_alone: the campaign has this channel only.
        elsewhere: with two channels, recipients with an address for this one who are written to
            by the other.
        rejected: rows of the source that are no recipient.
        partial: recipients that lost a bad field, such as a wrong number beside a right address.
        octets, largest: of all emails, and of the largest.
        encodings: text messages by alphabet.
        segments: text messages by their number of segments.
        empty: variables of the template that recipients have no value for, and how many have none.
        empty_rows: the first rows of each.
        domains: messages by recipient domain, or country code.
        held: messages by zones and the time until which they are held.
        units: segments of the message that was made last.
        cost: what the messages would cost; None without a rate card.
        unpriced: the first numbers that the card has no price for, shortened.
    """

    channel: Channel
    recipients: int = 0
    taken: int = 0
    messages: int = 0
    unfit: Counter[FailureClass] = field(default_factory=Counter)
    suppressed: int = 0
    duplicates: int = 0
    skipped: int = 0
    is_alone: bool = True
    elsewhere: int = 0
    rejected: int = 0
    partial: int = 0
    octets: int = 0
    largest: int = 0
    encodings: Counter[str] = field(default_factory=Counter)
    segments: Counter[int] = field(default_factory=Counter)
    empty: Counter[str] = field(default_factory=Counter)
    empty_rows: dict[str, list[int]] = field(default_factory=dict)
    domains: Counter[str] = field(default_factory=Counter)
    held: Counter[tuple[Zones, datetime | None]] = field(default_factory=Counter)
    units: int = 1
    cost: Cost | None = None
    unpriced: list[str] = field(default_factory=list)
    problems: list[Unfit] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def unfit_total(self) -> int:
        """Recipients whose message cannot go out."""
        return sum(self.unfit.values())

    @property
    def all_segments(self) -> int:
        """Segments of all text messages."""
        return sum(number * count for number, count in self.segments.items())

    def refuse(self, row: int, address: str, kind: FailureClass, reason: str) -> None:
        """Count a recipient whose message cannot go out."""
        self.unfit[kind] += 1
        if len(self.problems) < FIRST_PROBLEMS:
            self.problems.append(
                Unfit(
                    row=row,
                    address=shortened(address),
                    failure_class=kind,
                    reason=without_addresses(reason),
                )
            )


Progress = Callable[[Examined], None]


class Examiner:
    """Examines one audience.

    Args:
        database: for suppressions.
        plan: the campaign.
        rehearsal: makes its messages.
        hours: its rules of the hour, None where it has none.
        samples: how many messages to keep as they would go out.
        on_progress: told after each batch.
        card: prices the messages.
    """

    def __init__(
        self,
        database: Database,
        plan: CampaignPlan,
        rehearsal: Rehearsal,
        *,
        hours: Hours | None,
        samples: int = 0,
        on_progress: Progress | None = None,
        card: Card | None = None,
    ) -> None:
        self._database, self._plan, self._rehearsal = database, plan, rehearsal
        self._hours, self._samples, self._on_progress = hours, samples, on_progress
        self._seen: set[int] = set()  # hashes only: a million addresses stay under 64 MB
        self._card = card
        self._reached = 0  # recipients who are written to, by whichever channel
        self.found = Examined(channel=plan.channel, is_alone=len(plan.legs) == 1)
        if card is not None:
            self.found.cost = Cost(
                currency=card.currency, card=card.version, basis=EstimateBasis.PREFLIGHT
            )

    async def examine(self, source: Source) -> Examined:
        """Go through the whole audience, or as much of it as the run is limited to."""
        found = self.found
        async for batch in source.batches():
            new = self._taken(batch, await self._routes(batch))
            barred = await self._barred([message.address for _, message in new])
            for row, message in new:
                if message.address in barred:
                    found.suppressed += 1
                else:
                    self._make(row, message)
            if self._on_progress is not None:
                self._on_progress(found)
            if self._is_full():
                break
        found.rejected, found.partial = source.stats.rejected, source.stats.partial
        found.duplicates += source.stats.duplicates
        return found

    def _is_full(self) -> bool:
        return self._plan.limit is not None and self._reached >= self._plan.limit

    async def _routes(self, batch: Sequence[Recipient]) -> Routes:
        """The channels that each recipient is written to by, of a campaign with two.

        A text that goes where an email does not get through is counted for all who have a number:
        so many at most.
        """
        whole = self._plan.whole
        if whole is None or self.found.is_alone:
            return [(self.found.channel,)] * len(batch)
        if (whole.channel, self.found.channel) == (CampaignChannel.FALLBACK, Channel.SMS):
            return [(Channel.SMS,)] * len(batch)
        tenant_id = self._plan.stored.campaign.tenant_id
        return await routes_of(self._database, whole.channel, tenant_id, batch)

    def _taken(self, batch: Sequence[Recipient], routes: Routes) -> list[tuple[int, NewMessage]]:
        """The messages that a run would have of a batch, with the rows they come from."""
        found, new = self.found, []
        for recipient, route in zip(batch, routes, strict=True):
            if self._is_full():
                break
            found.recipients += 1
            message = message_for(recipient, found.channel)
            if message is None:
                found.skipped += 1
                self._reached += bool(route) and not found.is_alone
                continue
            if found.channel not in route:
                found.elsewhere += 1
                self._reached += 1
                continue
            key = hash(message.address)
            if key in self._seen:
                found.duplicates += 1
                continue
            self._seen.add(key)
            found.taken += 1
            self._reached += 1
            new.append((recipient.line or found.recipients, message))
        return new

    async def _barred(self, addresses: Sequence[str]) -> set[str]:
        tenant_id, channel = self._plan.stored.campaign.tenant_id, self.found.channel
        async with self._database.read() as session:
            barred = await suppressed_among(session, tenant_id, channel, addresses)
            for some in chunks(addresses):
                barred.update(await forgotten(session, tenant_id, channel, some))
        return barred

    def _make(self, row: int, new: NewMessage) -> None:
        found = self.found
        self._note_empty(row, new)
        message = ClaimedMessage(
            id=MessageId(new_id()),
            channel=new.channel,
            address=new.address,
            domain=new.domain,
            locale=new.locale,
            timezone=new.timezone,
            attempts=0,
            data=new.data,
        )
        try:
            made = self._rehearsal.make(message, found)
        except TemplateError as error:
            found.refuse(row, new.address, FailureClass.RENDER, str(error))
        except RefusedContent as error:
            found.refuse(row, new.address, FailureClass.CONTENT, str(error))
        except ValueError as error:
            found.refuse(row, new.address, FailureClass.ADDRESS, str(error))
        else:
            found.messages += 1
            found.domains[new.domain] += 1
            self._note_cost(message)
            self._note_hour(new)
            if len(found.samples) < self._samples:
                sample = {"row": row, "to": new.address, **self._rehearsal.sample(made)}
                found.samples.append(sample)

    def _note_empty(self, row: int, new: NewMessage) -> None:
        for name in self._plan.template.variables:
            if new.data.get(name) in (None, ""):
                self.found.empty[name] += 1
                rows = self.found.empty_rows.setdefault(name, [])
                if len(rows) < FIRST_ROWS:
                    rows.append(row)

    def _note_cost(self, message: ClaimedMessage) -> None:
        found = self.found
        if self._card is None or found.cost is None:
            return
        micros = price_of(self._card, message)
        country = message.domain if found.channel is Channel.SMS else ""
        found.cost.add(country, 1, found.units, micros)
        if micros is None and len(found.unpriced) < FIRST_ROWS:
            found.unpriced.append(shortened(message.address))

    def _note_hour(self, new: NewMessage) -> None:
        if self._hours is None:
            return
        zones = self._hours.zones(new)
        self.found.held[zones, self._hours.until(zones)] += 1
