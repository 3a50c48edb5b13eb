"""A campaign's run in a real database, and a real server to send it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.channels.smtp import EmailEnvelope, SmtpOptions, SmtpTransport
from ignition_ext.channels.transport import Transport
from ignition_ext.database import Database
from ignition_ext.delivery.batch import BatchLimits, Sender
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.errors import TemplateError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import ClaimedMessage, Ledger, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, MessageState, RunRef

ONCE_AN_HOUR = StandardRetry(
    strategy="fixed", attempts=3, base=timedelta(hours=1), max=timedelta(hours=1)
)


class PlainWorkshop:
    """Writes a greeting; refuses who is called ``unrenderable`` or ``unaddressable``."""

    def build(self, message: ClaimedMessage) -> EmailEnvelope:
        match message.address.partition("@")[0]:
            case "unrenderable":
                raise TemplateError("'name' is undefined", file="body.html", line=3)
            case "unaddressable":
                raise ValueError("the address holds a line break")
        text = f"To: {message.address}\r\nSubject: Hello\r\n\r\nHello {message.id}\r\n"
        return EmailEnvelope(
            message_id=message.id,
            envelope_from="news@example.com",
            recipient=message.address,
            content=text.encode(),
        )


@dataclass
class Stage:
    """One open run and how to send it."""

    database: Database
    ledger: Ledger
    run: RunRef
    limits: BatchLimits = field(
        default_factory=lambda: BatchLimits(
            messages=1000, lease=timedelta(minutes=1), look_every=timedelta(milliseconds=50)
        )
    )

    async def fill(self, *addresses: str) -> None:
        async def batches() -> AsyncIterator[Sequence[NewMessage]]:
            yield [
                NewMessage(channel=Channel.EMAIL, address=address, domain="example.com")
                for address in addresses
            ]

        await self.ledger.snapshot(self.run, batches())

    async def states(self) -> dict[str, MessageState]:
        """The state of each address."""
        return {
            str(row["address"]): MessageState(row["state"])
            async for rows in self.ledger.messages(self.run.id)
            for row in rows
        }

    def sender(self, connect: Callable[[bool], Transport[EmailEnvelope]]) -> Sender[EmailEnvelope]:
        return Sender(workshop=PlainWorkshop(), connect=connect, retry=ONCE_AN_HOUR)


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    """An open run without messages; its sums are checked afterwards."""
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id, name="newsletter", version=1)
        session.add(campaign)
        await session.flush()
        campaign_id = campaign.id
    assert campaign_id is not None
    opened = await open_run(
        database,
        RunRequest(tenant_id=tenant.id, campaign_id=campaign_id, campaign_version=1),
        actor="test",
    )
    made = Stage(database=database, ledger=open_ledger(database), run=opened.ref)
    yield made
    counts = await made.ledger.counts(made.run)
    assert sum(counts.values()) == len(await made.states())


@pytest.fixture
async def server() -> AsyncIterator[CaptureSmtpServer]:
    """A server that keeps what it is sent."""
    async with CaptureSmtpServer() as running:
        yield running


@pytest.fixture
def connect(server: CaptureSmtpServer) -> Callable[[bool], Transport[EmailEnvelope]]:
    """Makes transports to that server."""
    return smtp_to(server.port)


def smtp_to(port: int, **changes: Any) -> Callable[[bool], SmtpTransport]:
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "connections": 2,
        "drain_timeout": 5,
        "reconnect_attempts": 1,
    }
    options = SmtpOptions(**(settings | changes))

    def make(last: bool) -> SmtpTransport:
        return SmtpTransport(options)

    return make
