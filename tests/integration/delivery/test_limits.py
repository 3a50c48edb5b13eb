"""Batches under shared rates and circuits: a real ledger, a real server, two senders at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ignition_ext.budgets.budget import Budget
from ignition_ext.budgets.circuits import Circuits, Door
from ignition_ext.budgets.lines import Lines
from ignition_ext.budgets.rate import Limit, Want
from ignition_ext.channels.smtp import EmailEnvelope, SmtpOptions, SmtpTransport
from ignition_ext.channels.transport import Journal, Transport
from ignition_ext.database import Database, database_now
from ignition_ext.delivery.batch import BatchResult, deliver_batch
from ignition_ext.delivery.gate import DomainLimit, Gated, Take, open_gate
from ignition_ext.delivery.guard import Guard, GuardedTransport
from ignition_ext.delivery.patience import rest_left
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.postgres import free_port
from ignition_ext.errors import MustWait
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.models import CampaignRun, CircuitTrouble
from ignition_ext.values import Channel, MessageState

Connect = Callable[[bool], Transport[EmailEnvelope]]
HOUR = timedelta(hours=1)


def at(rate: float) -> DomainLimit:
    return lambda domain: Limit(key=f"domain:acme:{domain}", rate=rate)


async def fill(stage: Any, *addresses: str) -> None:
    async def batches() -> AsyncIterator[Sequence[NewMessage]]:
        yield [
            NewMessage(channel=Channel.EMAIL, address=one, domain=one.partition("@")[2])
            for one in addresses
        ]

    await stage.ledger.snapshot(stage.run, batches())


async def send(
    stage: Any,
    connect: Connect,
    *,
    common: Sequence[Limit] = (),
    domains: Sequence[DomainLimit] = (),
    stop: asyncio.Event | None = None,
    database: Database | None = None,
) -> BatchResult:
    lines = Lines(database or stage.database)

    @asynccontextmanager
    async def gate(take: Take, journal: Journal, stop: asyncio.Event) -> AsyncIterator[Gated]:
        budget = Budget(lines)
        async with open_gate(
            budget, common=common, domains=domains, take=take, journal=journal, stop=stop
        ) as opened:
            yield opened

    sender = replace(stage.sender(connect), gate=gate)
    result: BatchResult = await deliver_batch(
        stage.ledger, stage.run, sender, stage.limits, stop=stop or asyncio.Event()
    )
    return result


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  it happens in the database
            await asyncio.sleep(0.02)


async def test_two_senders_keep_one_rate(
    stage: Any, server: CaptureSmtpServer, connect: Connect
) -> None:
    """Each with a pool of its own: sixty messages at twenty a second take two seconds at least."""
    await fill(stage, *(f"p{number}@x.example" for number in range(60)))
    stage.limits = replace(stage.limits, portion=10)
    limit = Limit(key="campaign:acme/news", rate=20)
    url = stage.database.url.render_as_string(hide_password=False)
    others = [Database(url) for _ in range(2)]
    began = time.monotonic()
    try:
        results = await asyncio.gather(
            *(send(stage, connect, common=[limit], database=one) for one in others)
        )
    finally:
        for one in others:
            await one.close()

    assert time.monotonic() - began >= 60 / 20 - 1
    assert server.received == 60
    assert all(result.settled for result in results)


async def test_what_was_sent_is_settled_while_the_rest_waits(
    stage: Any, server: CaptureSmtpServer, connect: Connect
) -> None:
    """A slow rate leaves no result unstored; a stop gives the rest back."""
    await fill(stage, *(f"p{number}@x.example" for number in range(5)))
    stop = asyncio.Event()
    batch = asyncio.create_task(send(stage, connect, domains=[at(0.05)], stop=stop))

    async def one_is_sent() -> bool:
        return (await stage.ledger.counts(stage.run))[MessageState.SENT] == 1

    await until(one_is_sent)
    stop.set()
    await batch
    counts = await stage.ledger.counts(stage.run)
    assert server.received == 1
    assert (counts[MessageState.SENT], counts[MessageState.PENDING]) == (1, 4)


async def test_a_used_up_domain_keeps_neither_lease_nor_worker(
    stage: Any, server: CaptureSmtpServer, connect: Connect
) -> None:
    """Its messages are pending until their turn, the others are sent."""
    await fill(stage, *(f"p{number}@{d}.example" for number in range(3) for d in ("slow", "fast")))
    slow = Limit(key="domain:acme:slow.example", rate=0.01)
    await Lines(stage.database).take([Want(limit=slow, count=1)])
    rates = {"slow.example": 0.01, "fast.example": 500}

    def limit(domain: str) -> Limit:
        return Limit(key=f"domain:acme:{domain}", rate=rates[domain])

    first = await send(stage, connect, domains=[limit])
    assert first.settled == {MessageState.SENT: 3, MessageState.PENDING: 3}
    assert (await stage.ledger.counts(stage.run))[MessageState.CLAIMED] == 0
    second = await send(stage, connect, domains=[limit])
    assert (second.claimed, second.over) == (0, False)
    assert second.next_at is not None
    async with stage.database.read() as session:
        wait = second.next_at - await database_now(session)
    assert timedelta(seconds=60) < wait < timedelta(seconds=100)
    assert server.received == 3


async def test_a_used_up_campaign_ends_the_batch_until_its_next_place(
    stage: Any, connect: Connect
) -> None:
    """Nothing is claimed for nothing, and the run knows how long to wait."""
    await fill(stage, "ada@x.example", "bob@x.example")
    limit = Limit(key="campaign:acme/news", rate=0.005)
    first = await send(stage, connect, common=[limit])

    assert first.settled == {MessageState.SENT: 1}
    assert first.counts[MessageState.PENDING] == 1
    assert timedelta(seconds=150) < first.rest <= timedelta(seconds=200)
    left = await rest_left(stage.database, stage.run, first)
    assert left == first.rest


def guarded(stage: Any, options: SmtpOptions) -> Any:
    door = Door(server=options.server)
    guard = Guard(Circuits(stage.database), door, patience=HOUR, tell=lambda change: None)
    transport = SmtpTransport(options)
    return replace(
        stage.sender(lambda last: GuardedTransport(transport, guard)), admit=guard.require_closed
    )


async def test_an_open_circuit_claims_nothing(stage: Any, server: CaptureSmtpServer) -> None:
    """The server is not asked; the run is told how long; another server's campaign goes on."""
    await fill(stage, "ada@x.example")
    down = SmtpOptions(host="127.0.0.1", port=free_port(), security="none", reconnect_attempts=1)
    for _ in range(3):
        await Circuits(stage.database).fail(
            Door(server=down.server), CircuitTrouble.CONNECTION, "no answer."
        )
    refused = await deliver_batch(
        stage.ledger, stage.run, guarded(stage, down), stage.limits, stop=asyncio.Event()
    )

    assert isinstance(refused.error, MustWait)
    assert (refused.claimed, refused.counts[MessageState.PENDING]) == (0, 1)
    assert timedelta(seconds=20) < refused.rest <= timedelta(seconds=30)
    up = SmtpOptions(host="127.0.0.1", port=server.port, security="none")
    other = await deliver_batch(
        stage.ledger, stage.run, guarded(stage, up), stage.limits, stop=asyncio.Event()
    )
    assert other.settled == {MessageState.SENT: 1}


@pytest.mark.parametrize("passed", [True, False], ids=["past", "to-come"])
async def test_a_deadline_counts_while_a_server_is_down(stage: Any, passed: bool) -> None:
    """The run waits no longer than that, and then its messages are expired."""
    await fill(stage, "ada@x.example")
    down = SmtpOptions(host="127.0.0.1", port=free_port(), security="none", reconnect_attempts=1)
    async with stage.database.write() as session:
        row = await session.get_one(CampaignRun, stage.run.id)
        seconds = -1 if passed else 3
        row.deadline = await database_now(session) + timedelta(seconds=seconds)
    for _ in range(3):
        await Circuits(stage.database).fail(
            Door(server=down.server), CircuitTrouble.CONNECTION, "no answer."
        )
    result = await deliver_batch(
        stage.ledger, stage.run, guarded(stage, down), stage.limits, stop=asyncio.Event()
    )

    if passed:
        assert result.over
        assert result.counts[MessageState.EXPIRED] == 1
    else:
        left = await rest_left(stage.database, stage.run, result)
        assert left <= timedelta(seconds=3)


async def test_a_probe_that_sends_closes_the_circuit(stage: Any, server: CaptureSmtpServer) -> None:
    """With its first judged message, and for everyone."""
    await fill(stage, "ada@x.example")
    up = SmtpOptions(host="127.0.0.1", port=server.port, security="none")
    for _ in range(3):
        await Circuits(stage.database).fail(
            Door(server=up.server), CircuitTrouble.CONNECTION, "no answer."
        )
    async with stage.database.engine.begin() as connection:
        await connection.execute(text("UPDATE circuit SET open_until = changed_at"))
    await deliver_batch(
        stage.ledger, stage.run, guarded(stage, up), stage.limits, stop=asyncio.Event()
    )

    assert server.received == 1
    assert await Circuits(stage.database).enter(Door(server=up.server)) is None
    async with stage.database.engine.connect() as connection:
        rows = await connection.execute(text("SELECT count(*) FROM circuit"))
        assert rows.scalar_one() == 0
