"""What a campaign's messages cost before they are sent, and the till that keeps its budgets."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from ignition_ext.channels.smpp import SmppOptions, SmsEnvelope, segment
from ignition_ext.channels.smpp.segment import TextRefused
from ignition_ext.channels.transport import Journal
from ignition_ext.costs.accounts import Accounts, Buyer
from ignition_ext.costs.budget import Budget
from ignition_ext.costs.budget_store import budgets_of, require_currency
from ignition_ext.costs.card import Card
from ignition_ext.costs.card_store import open_card, pinned_card
from ignition_ext.database import Database
from ignition_ext.delivery.batch import Paying, Sender
from ignition_ext.delivery.envelopes import Take, Workshop
from ignition_ext.delivery.local_time import database_clock
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.till import Pricing, Quote, exhausted, open_till
from ignition_ext.errors import ConfigurationError, TemplateError
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Channel, MessageId, RunRef, new_id

NETWORK_COLUMN = "network"
"""The recipient's column that names the number's network."""


@dataclass(frozen=True, slots=True)
class EmailPricing:
    """Each email costs the same."""

    card: Card

    def quote(self, message: ClaimedMessage) -> Quote:
        """The card's price of one."""
        return Quote(segments=1, micros=self.card.email_micros or 0)


@dataclass(frozen=True, slots=True)
class SmsPricing:
    """Makes each message to count its segments, and keeps it for the sender.

    It is the sender's workshop as well, so that a message is made once.
    """

    card: Card
    workshop: Workshop[SmsEnvelope]
    options: SmppOptions
    made: dict[MessageId, SmsEnvelope] = field(default_factory=dict)

    def quote(self, message: ClaimedMessage) -> Quote | None:
        """What its segments cost; None for one that cannot be made or is too long."""
        try:
            envelope = self.workshop.build(message)
            segments = count_segments(envelope.text, self.options)
        except (TemplateError, TextRefused, ValueError):
            return None  # whoever asks for it to be made is told why
        self.made[message.id] = envelope
        return Quote(segments=segments, micros=price_of(self.card, message))

    def build(self, message: ClaimedMessage) -> SmsEnvelope:
        """The message as it was priced."""
        return self.made.pop(message.id, None) or self.workshop.build(message)


def count_segments(text: str, options: SmppOptions) -> int:
    """Segments of a text as the gateway cuts it.

    Raises:
        TextRefused: it cannot be sent, or has too many.
    """
    cut = segment(
        text,
        alphabet=options.default_alphabet,
        wide_reference=options.wide_reference,
        max_parts=options.max_parts,
        replace_typography=options.replace_typography,
    )
    return len(cut.parts)


def price_of(card: Card, message: ClaimedMessage) -> int | None:
    """Millionths for a segment to that recipient; None where the card has no price."""
    network = str(message.data.get(NETWORK_COLUMN) or "") if card.has_networks else ""
    return card.segment_micros(message.channel, message.address, network)


async def with_till(
    sender: Sender[Any], database: Database, plan: CampaignPlan, run: RunRef, options: object
) -> Sender[Any]:
    """The same sender, which keeps the budgets; itself where none is set.

    Raises:
        ConfigurationError: there is a budget and no rate card, or one in another currency.
    """
    campaign_id = plan.stored.campaign.id
    assert campaign_id is not None
    async with database.read() as session:
        found = await budgets_of(session, run.tenant_id, campaign_id)
        if not found:
            return sender
        row = await pinned_card(session, run)
        if row is None:
            if plan.channel is Channel.EMAIL:
                return sender  # without a card emails cost nothing
            raise no_card(plan, [budget for _, budget in found])
        for _, budget in found:
            require_currency(budget, row.currency)
        card = await open_card(session, row)
    pricing: Pricing
    if isinstance(options, SmppOptions):
        sms = SmsPricing(card, sender.workshop, options)
        pricing, sender = sms, replace(sender, workshop=sms)
    else:
        if not card.email_micros:
            return sender
        pricing = EmailPricing(card)
    buyer = Buyer(
        holder=new_id(),
        run=run,
        campaign_id=campaign_id,
        currency=card.currency,
        zone=ZoneInfo(plan.stored.tenant.timezone),
    )
    now, accounts = await database_clock(database), Accounts(database)
    least = card.email_micros or 0 if plan.channel is Channel.EMAIL else card.cheapest

    def till(take: Take, journal: Journal) -> AbstractAsyncContextManager[Paying]:
        return open_till(accounts, buyer, pricing, now, take, journal)

    async def admit() -> None:
        """Claim nothing where there is no money for the cheapest message."""
        if sender.admit is not None:
            await sender.admit()
        if (shortage := await accounts.shortage(buyer, least)) is not None:
            raise exhausted(shortage)

    return replace(sender, till=till, admit=admit)


def no_card(plan: CampaignPlan, budgets: list[Budget]) -> ConfigurationError:
    """What is said of a budget that nothing can be compared with."""
    tenant = plan.stored.tenant.name
    return ConfigurationError(
        f"{plan.reference} has a budget of {budgets[0]}, and its run has no rate card.",
        mend=f"Run: ignition rates import FILE.csv --tenant {tenant}"
        f" --currency {budgets[0].money.currency}; then retry the run.",
    )
