"""A tenant whose messages went out, and mails that come back about them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Ledger, NewMessage, RetryPolicy
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign, Suppression
from ignition_ext.models.mail_report import MailReport
from ignition_ext.returns.mail import MailDesk
from ignition_ext.templates.bounce_address import BounceAddress
from ignition_ext.tenants import create_tenant
from ignition_ext.values import (
    Channel,
    Delivery,
    LeaseId,
    MessageId,
    Outcome,
    OutcomeKind,
    RunRef,
)

MINUTE = timedelta(minutes=1)
ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, code="250", text="queued")
RETRY = StandardRetry(strategy="fixed", attempts=3, base=timedelta(0), max=timedelta(0))
BOUNCES = "bounces@mail.example.com"


@dataclass
class Post:
    """One database with a tenant; runs that were sent, and what came back of them."""

    database: Database
    ledger: Ledger
    desk: MailDesk
    tenant_id: int
    campaign_id: int
    retry: RetryPolicy = RETRY

    async def open(self, *addresses: str) -> RunRef:
        """A run with these recipients, nothing sent yet."""
        request = RunRequest(
            tenant_id=self.tenant_id, campaign_id=self.campaign_id, campaign_version=1
        )
        run = (await open_run(self.database, request, actor="test")).ref

        async def batches() -> AsyncIterator[Sequence[NewMessage]]:
            yield [
                NewMessage(
                    channel=Channel.EMAIL, address=address, domain=address.rpartition("@")[2]
                )
                for address in addresses
            ]

        await self.ledger.snapshot(run, batches())
        await self.ledger.finish_snapshot(run, skipped=0, rejected=0, duplicates=0)
        return run

    async def sending(self, *addresses: str) -> tuple[RunRef, LeaseId, dict[str, MessageId]]:
        """A run whose messages are on the wire; those suppressed are not among them."""
        run = await self.open(*addresses)
        lease = await self.ledger.claim(run, limit=1000, lease=MINUTE)
        ids = {message.address: message.id for message in lease.messages}
        await self.ledger.intend(run, lease.id, list(ids.values()))
        return run, lease.id, ids

    async def settle(
        self, run: RunRef, lease: LeaseId, keys: Sequence[MessageId], outcome: Outcome = ACCEPTED
    ) -> None:
        deliveries = [Delivery(message_id=key, outcome=outcome) for key in keys]
        await self.ledger.settle(run, lease, deliveries, self.retry)

    async def sent(self, *addresses: str) -> tuple[RunRef, dict[str, MessageId]]:
        run, lease, ids = await self.sending(*addresses)
        await self.settle(run, lease, list(ids.values()))
        return run, ids

    def envelope_from(self, key: MessageId) -> str:
        return BounceAddress.of(BOUNCES).sender(key)

    async def states(self, run: RunRef) -> dict[str, str]:
        pages = self.ledger.messages(run.id)
        return {row["address"]: row["state"] async for page in pages for row in page}

    async def suppressed(self) -> dict[str, str]:
        """The reasons by address."""
        async with self.database.read() as session:
            rows = (await session.exec(select(Suppression))).all()
        return {row.address: row.reason for row in rows}

    async def reports(self) -> list[MailReport]:
        async with self.database.read() as session:
            return list((await session.exec(select(MailReport))).all())


@pytest.fixture
async def post(database: Database) -> Post:
    tenant = await create_tenant(database, name="acme", actor="test")
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id or 0, name="welcome")
        session.add(campaign)
        await session.flush()
    assert tenant.id is not None
    assert campaign.id is not None
    return Post(database, open_ledger(database), MailDesk(database), tenant.id, campaign.id)


def dsn(
    *,
    to: str,
    recipient: str,
    action: str = "failed",
    status: str = "5.1.1",
    reason: str = "550 5.1.1 no such user",
    message_id: str = "",
) -> bytes:
    """A delivery status notification as RFC 3464 writes them."""
    original = f"Message-ID: <{message_id}>\r\n" if message_id else ""
    return (
        "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\r\n"
        f"To: {to}\r\nSubject: Undelivered\r\nAuto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;"
        ' boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n'
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {reason}\r\n"
        "\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"{original}Subject: hello\r\n\r\n--b--\r\n"
    ).encode()


def complaint(*, to: str, mail_from: str = "", recipient: str = "") -> bytes:
    """An abuse report as RFC 5965 writes them."""
    sender = f"Original-Mail-From: <{mail_from}>\r\n" if mail_from else ""
    person = f"Original-Rcpt-To: <{recipient}>\r\n" if recipient else ""
    return (
        f"From: <fbl@example.net>\r\nTo: {to}\r\nSubject: FW: hello\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nAn abuse report.\r\n"
        "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        f"Feedback-Type: abuse\r\nUser-Agent: Example/1.0\r\nVersion: 1\r\n{sender}{person}"
        "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: hello\r\n\r\nhi\r\n--b--\r\n"
    ).encode()


@pytest.fixture
def make_dsn() -> Any:
    return dsn


@pytest.fixture
def make_complaint() -> Any:
    return complaint
