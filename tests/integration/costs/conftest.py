"""A campaign with a budget and a run in a real database, and senders that keep to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from ignition_ext.costs.accounts import Accounts, Buyer
from ignition_ext.database import Database
from ignition_ext.delivery.envelopes import Take
from ignition_ext.delivery.local_time import Clock, database_clock
from ignition_ext.delivery.till import Quote, Till
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import ClaimedMessage, Lease, Ledger, NewMessage
from ignition_ext.ledger.journal import LedgerJournal
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import (
    Campaign,
    CampaignVersion,
    Message,
    MoneyAccount,
    MoneyHold,
    SenderLease,
)
from ignition_ext.models.outcome import OutboxEvent
from ignition_ext.tenants import create_tenant
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    Guarantee,
    LeaseId,
    MessageState,
    Outcome,
    OutcomeKind,
    RunRef,
    new_id,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ONCE_AN_HOUR = StandardRetry(
    strategy="fixed", attempts=3, base=timedelta(hours=1), max=timedelta(hours=1)
)
REFUSED = {OutcomeKind.REJECTED: FailureClass.MAILBOX, OutcomeKind.DEFERRED: FailureClass.MAILBOX}
DIES = "dies"
"""What a sender does that is killed when the message is on the wire."""


class Pricing:
    """The price of a message stands before its address: ``7-x@example.com`` costs 7."""

    def __init__(self, segments: int = 1) -> None:
        self.segments = segments

    def quote(self, message: ClaimedMessage) -> Quote:
        micros = price_of(message.address)
        return Quote(segments=self.segments, micros=None if micros < 0 else micros)


def price_of(address: str) -> int:
    """-1 for none."""
    return int(address.partition("-")[0] or -1)


@dataclass
class Shop:
    """One run, its budget, and what its senders do."""

    database: Database
    ledger: Ledger
    run: RunRef
    campaign_id: int
    acts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    async def fill(self, *addresses: str) -> None:
        async def batches() -> AsyncIterator[Sequence[NewMessage]]:
            yield [
                NewMessage(channel=Channel.EMAIL, address=address, domain="example.com")
                for address in addresses
            ]

        await self.ledger.snapshot(self.run, batches())

    async def set_budget(self, micros: int | None, per: str = "run", currency: str = "EUR") -> None:
        """As if the campaign file were applied again."""
        said: dict[str, Any] = {}
        if micros is not None:
            said = {"budget": {"amount": f"{micros / 1e6:.6f}", "currency": currency, "per": per}}
        async with self.database.write() as session:
            query = select(CampaignVersion).where(CampaignVersion.campaign_id == self.campaign_id)
            (await session.exec(query)).one().definition = said

    def buyer(self, run: RunRef | None = None) -> Buyer:
        return Buyer(
            holder=new_id(),
            run=run or self.run,
            campaign_id=self.campaign_id,
            currency="EUR",
            zone=ZoneInfo("Europe/Berlin"),
        )

    async def send(self, *, at_once: int = 5, stale: timedelta = timedelta(0)) -> Till | None:
        """What one sender does until nothing is left, its money is short, or it dies.

        Returns:
            Its last till; None where it found nothing to send, or died.
        """
        accounts, buyer = Accounts(self.database, stale=stale), self.buyer()
        now = await database_clock(self.database)
        while True:
            lease = await self.ledger.claim(self.run, limit=at_once, lease=timedelta(minutes=1))
            if not lease.messages:
                return None
            till = Till(accounts, buyer, Pricing(), now, *self._claimed(lease))
            while (message := await till.take()) is not None:
                if message.id not in await till.intend([message.id]):
                    continue
                act = self._next_act(message.address)
                if act == DIES:
                    return None
                await till.settle([_delivery(message, OutcomeKind(act))])
            await till.close()
            await self.ledger.release(self.run, lease.id)
            if till.shortage is not None:
                return till

    def _claimed(self, lease: Lease) -> tuple[Take, LedgerJournal]:
        journal = LedgerJournal(self.ledger, self.run, lease.id, ONCE_AN_HOUR, bind="")
        waiting = list(lease.messages)

        async def take() -> ClaimedMessage | None:
            return waiting.pop(0) if waiting else None

        return take, journal

    async def till(self, now: Clock, segments: int = 1) -> tuple[Till, LeaseId]:
        """The till of one claim, at a time that the test says."""
        lease = await self.ledger.claim(self.run, limit=9, lease=timedelta(minutes=1))
        take, journal = self._claimed(lease)
        accounts, buyer = Accounts(self.database), self.buyer()
        return Till(accounts, buyer, Pricing(segments), now, take, journal), lease.id

    def _next_act(self, address: str) -> str:
        number = self.seen.get(address, 0)
        self.seen[address] = number + 1
        acts = self.acts.get(address, ())
        return acts[number] if number < len(acts) else OutcomeKind.ACCEPTED

    async def lapse(self) -> None:
        """Let every lease end: its sender is dead."""
        async with self.database.write() as session:
            statement = update(SenderLease).values(until=LONG_AGO)
            await (await session.connection()).execute(statement)
        await self.ledger.recover(self.run)

    async def account(self) -> MoneyAccount | None:
        """The campaign's one account; None where nothing was to be paid."""
        async with self.database.read() as session:
            query = select(MoneyAccount).where(MoneyAccount.campaign_id == self.campaign_id)
            return (await session.exec(query)).one_or_none()

    async def holds(self) -> int:
        async with self.database.read() as session:
            query = select(MoneyHold).where(MoneyHold.run_at == self.run.run_at)
            return len((await session.exec(query)).all())

    async def events(self) -> list[str]:
        """What was announced, oldest first."""
        async with self.database.read() as session:
            query = select(OutboxEvent.name).order_by(col(OutboxEvent.id))
            return list(await session.exec(query))

    async def messages(self) -> list[Message]:
        async with self.database.read() as session:
            return list(await session.exec(select(Message).where(Message.run_id == self.run.id)))

    async def cost(self) -> int:
        """What left, or may have left, by the ledger's own word."""
        copies = {MessageState.SENT, MessageState.UNCERTAIN}
        return sum(
            price_of(one.address) * ((one.state in copies) + one.resends)
            for one in await self.messages()
        )


def _delivery(message: ClaimedMessage, kind: OutcomeKind) -> Delivery:
    outcome = Outcome(kind=kind, code="250", failure_class=REFUSED.get(kind))
    return Delivery(message_id=message.id, outcome=outcome)


async def open_shop(
    database: Database, guarantee: Guarantee = Guarantee.AT_MOST_ONCE, tenant: str = "acme"
) -> Shop:
    """A campaign without a budget, and an open run of it."""
    owner = await create_tenant(database, name=tenant, timezone="Europe/Berlin", actor="test")
    assert owner.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=owner.id, name="news", version=1)
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
        session.add(
            CampaignVersion(
                tenant_id=owner.id, campaign_id=campaign.id, version=1, digest="", definition={}
            )
        )
    opened = await open_run(
        database,
        RunRequest(
            tenant_id=owner.id, campaign_id=campaign.id, campaign_version=1, guarantee=guarantee
        ),
        actor="test",
    )
    return Shop(
        database=database, ledger=open_ledger(database), run=opened.ref, campaign_id=campaign.id
    )


Opening = Callable[[Database, Guarantee, str], Awaitable[Shop]]


@pytest.fixture
async def shop(database: Database) -> Shop:
    return await open_shop(database)


@pytest.fixture
def opening() -> Opening:
    """Makes shops, for a property that wants a new one each time."""
    return open_shop
