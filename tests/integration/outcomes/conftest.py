"""A tenant with a campaign whose messages change state, and real HTTP servers that are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Ledger, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign, OutboxEvent, WebhookDelivery
from ignition_ext.outcomes.endpoints import NewSecret, add_endpoint
from ignition_ext.outcomes.messages import Derived, derive_messages
from ignition_ext.outcomes.sending import Sent, WebhookSender
from ignition_ext.settings import Settings
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, Delivery, FailureClass, Outcome, OutcomeKind, RunRef

SENT = Outcome(kind=OutcomeKind.ACCEPTED, code="250", text="2.0.0 Ok", provider_id="Q1")
REFUSED = Outcome(
    kind=OutcomeKind.REJECTED, code="550", text="no such user", failure_class=FailureClass.ADDRESS
)


@dataclass
class World:
    """One database with the ledger of one tenant."""

    database: Database
    tenant_id: int
    campaign_id: int
    settings: Settings = field(
        default_factory=lambda: Settings(webhook_allow_private="127.0.0.0/8,::1")
    )

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.database)

    async def run(self, *addresses: str) -> RunRef:
        """A run with these addresses."""
        request = RunRequest(
            tenant_id=self.tenant_id, campaign_id=self.campaign_id, campaign_version=1
        )
        run = (await open_run(self.database, request, actor="test")).ref

        async def batches() -> AsyncIterator[Sequence[NewMessage]]:
            yield [
                NewMessage(channel=Channel.EMAIL, address=one, domain="example.com", data={})
                for one in addresses
            ]

        await self.ledger.snapshot(run, batches())
        return run

    async def send(self, run: RunRef, outcome: Outcome = SENT, limit: int = 1000) -> int:
        """Let some messages of a run come to this outcome."""
        lease = await self.ledger.claim(run, limit=limit, lease=timedelta(minutes=1))
        ids = [message.id for message in lease.messages]
        await self.ledger.intend(run, lease.id, ids)
        results = [Delivery(message_id=one, outcome=outcome) for one in ids]
        await self.ledger.settle(run, lease.id, results, StandardRetry())
        return len(ids)

    async def add(self, url: str, *events: str) -> NewSecret:
        """Register a webhook."""
        return await add_endpoint(
            self.database,
            tenant="acme",
            url=url,
            events=events,
            actor="test",
            settings=self.settings,
        )

    async def derive(self) -> Derived:
        """All that there is to derive."""
        total = await derive_messages(self.database)
        while total.more:
            more = await derive_messages(self.database)
            total = Derived(
                total.changes + more.changes, total.deliveries + more.deliveries, more.more
            )
        return total

    async def push(self, **options: Any) -> Sent:
        """Send all that is due."""
        async with WebhookSender(self.database, self.settings, **options) as sender:
            return await sender.send_due(seconds=300)

    async def deliveries(self) -> list[WebhookDelivery]:
        async with self.database.read() as session:
            query = select(WebhookDelivery).order_by(col(WebhookDelivery.id))
            return list((await session.exec(query)).all())

    async def outbox(self, name: str = "") -> list[OutboxEvent]:
        async with self.database.read() as session:
            found = await session.exec(select(OutboxEvent).order_by(col(OutboxEvent.id)))
            return [row for row in found if not name or row.name == name]

    async def told(self) -> list[str]:
        """The addresses that deliveries tell of, in order."""
        bodies = [json.loads(row.body) for row in await self.deliveries() if row.body]
        return sorted(
            message["address"] for body in bodies for message in body["data"].get("messages", ())
        )


async def make_world(database: Database) -> World:
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    campaign = Campaign(tenant_id=tenant.id, name="news", version=1)
    async with database.write() as session:
        session.add(campaign)
    assert campaign.id is not None
    return World(database, tenant.id, campaign.id)


@pytest.fixture
async def world(database: Database) -> World:
    """On each engine."""
    return await make_world(database)


@pytest.fixture
async def postgres_world(postgres_database_url: str) -> AsyncIterator[World]:
    """On PostgreSQL, for what only its transactions can do."""
    database = Database(postgres_database_url)
    yield await make_world(database)
    await database.close()


@pytest.fixture
async def sqlite_world(sqlite_database_url: str) -> AsyncIterator[World]:
    """On SQLite, whose clock says how far was read."""
    database = Database(sqlite_database_url)
    yield await make_world(database)
    await database.close()


@dataclass
class Request:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server that keeps what it gets, and answers what it was told to.

    ``answers`` are used up one by one, then it answers ``answer``. An answer is all its bytes; an
    empty one closes the connection, None leaves the request unanswered.
    """

    port: int = 0
    scheme: str = "http"
    answer: bytes | None = b"HTTP/1.1 204 No Content\r\n\r\n"
    answers: list[bytes | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {
                    name.lower(): value
                    for name, _, value in (line.partition(": ") for line in lines)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append(Request(headers, body))
                self.came.set()
                answer = self.answers.pop(0) if self.answers else self.answer
                if answer is None:
                    await reader.read()
                    return
                if not answer:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def status(code: int, *headers: str, text: str = "") -> bytes:
    """An answer."""
    head = "\r\n".join([f"HTTP/1.1 {code} Words", f"Content-Length: {len(text)}", *headers])
    return f"{head}\r\n\r\n{text}".encode()


@asynccontextmanager
async def receiver(**options: Any) -> AsyncIterator[Receiver]:
    made = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(made.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    made.port = server.sockets[0].getsockname()[1]
    made.scheme = "https" if "ssl" in options else "http"
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    """A receiver that takes everything."""
    async with receiver() as made:
        yield made


@pytest.fixture
def make_receiver() -> Callable[..., Any]:
    return receiver


@pytest.fixture
def answer_of() -> Callable[..., bytes]:
    return status


@pytest.fixture
def refused() -> Outcome:
    return REFUSED
