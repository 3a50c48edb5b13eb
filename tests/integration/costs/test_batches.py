"""Whole batches against a real server: what it took is what the budget allowed."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from ignition_ext.channels.smtp import EmailEnvelope, SmtpOptions, SmtpTransport
from ignition_ext.channels.transport import Journal
from ignition_ext.costs.accounts import Accounts
from ignition_ext.costs.card import Card
from ignition_ext.delivery.batch import BatchLimits, BatchResult, Paying, Sender, deliver_batch
from ignition_ext.delivery.envelopes import Take
from ignition_ext.delivery.local_time import database_clock
from ignition_ext.delivery.pricing import EmailPricing
from ignition_ext.delivery.till import open_till
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.errors import BudgetExhausted
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.values import MessageState

PRICE, ALLOWED, PEOPLE = 200, 37, 90
LIMITS = BatchLimits(
    messages=1000, lease=timedelta(minutes=1), look_every=timedelta(milliseconds=50), portion=10
)


class Workshop:
    """Writes a greeting."""

    def build(self, message: ClaimedMessage) -> EmailEnvelope:
        return EmailEnvelope(
            message_id=message.id,
            envelope_from="news@example.com",
            recipient=message.address,
            content=b"Subject: Hello\r\n\r\nHello\r\n",
        )


async def test_senders_side_by_side_send_just_what_the_budget_allows(shop) -> None:
    """Counted by the server; with more money the rest goes."""
    await shop.set_budget(PRICE * ALLOWED + PRICE - 1)
    refused = "reject-550@example.com"
    await shop.fill(refused, *(f"0-{number}@example.com" for number in range(PEOPLE)))
    card = Card(id=1, version=1, currency="EUR", prices=(), email_micros=PRICE)
    now = await database_clock(shop.database)
    accounts = Accounts(shop.database, stale=timedelta(0))

    async def send(server: CaptureSmtpServer) -> BatchResult:
        options = SmtpOptions(host="127.0.0.1", port=server.port, security="none", connections=2)
        buyer = shop.buyer()

        def till(take: Take, journal: Journal) -> AbstractAsyncContextManager[Paying]:
            return open_till(accounts, buyer, EmailPricing(card), now, take, journal)

        sender: Sender[EmailEnvelope] = Sender(
            workshop=Workshop(),
            connect=lambda last: SmtpTransport(options),
            retry=StandardRetry(),
            till=till,
        )
        return await deliver_batch(shop.ledger, shop.run, sender, LIMITS, stop=asyncio.Event())

    async with CaptureSmtpServer() as server:
        results = await asyncio.gather(*(send(server) for _ in range(3)))
        results.append(await send(server))
        accepted = len(server.accepted)
        await shop.set_budget(PRICE * (PEOPLE + 1))
        last = await send(server)

        assert accepted == ALLOWED
        assert isinstance(results[-1].error, BudgetExhausted)
        assert results[-1].rest
        counts = results[-1].counts
        left = counts[MessageState.PENDING] + counts[MessageState.FAILED]
        assert left == PEOPLE + 1 - ALLOWED
        assert (len(server.accepted), last.error) == (PEOPLE, None)
    account = await shop.account()
    assert (account.spent, account.held) == (PRICE * PEOPLE, 0)
