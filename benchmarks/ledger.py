"""How fast the ledger is: snapshot, and claim, intend and settle, with nothing sent between.

``python benchmarks/ledger.py [--url URL] [--messages N] [--batch N] [--senders N] [--parts]
[--turn N]``

Without ``--url`` it uses a fresh SQLite file and then a PostgreSQL server of its own, both with
durable commits: figures of one machine at one time, for comparing two versions of the code.
Prints one JSON line for each database: messages a second of each step, and the processor time
for each message, of this process and of the server, which other programs on the machine change
little. With ``--parts`` the messages are SMS of one segment each. With ``--turn N`` a sender works
as a transport does: N messages are on the wire, and each call settles N and intends N others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text

from ignition_ext.database import Database
from ignition_ext.devtools.postgres import running_postgres
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import ClaimedMessage, Ledger, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.schema import upgrade
from ignition_ext.tenants import create_tenant
from ignition_ext.values import (
    Channel,
    Delivery,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
    RunRef,
)

LEASE = timedelta(minutes=10)
BIND = "127.0.0.1:2775/bench"


async def open_bench_run(database: Database) -> RunRef:
    """A tenant, a campaign and a run of their own, so that a database can be measured again."""
    tenant = await create_tenant(database, name=f"bench-{uuid4().hex[:8]}", actor="bench")
    assert tenant.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id, name="bench")
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
        campaign_id = campaign.id
    request = RunRequest(tenant_id=tenant.id, campaign_id=campaign_id, campaign_version=1)
    return (await open_run(database, request, actor="bench")).ref


async def audience(
    channel: Channel, messages: int, batch: int
) -> AsyncIterator[Sequence[NewMessage]]:
    """Recipients with eight columns each, as a usual CSV file has."""
    for start in range(0, messages, batch):
        yield [
            NewMessage(
                channel=channel,
                address=f"zoe.mueller{number}@example.com"
                if channel is Channel.EMAIL
                else f"+49151{number:08d}",
                domain="example.com" if channel is Channel.EMAIL else "49",
                locale="de",
                timezone="Europe/Berlin",
                data={
                    "email": f"zoe.mueller{number}@example.com",
                    "first_name": "Zoë",
                    "last_name": "Müller",
                    "city": "Köln",
                    "account_id": f"AC-{number:08d}",
                    "balance": number,
                },
            )
            for number in range(start, min(start + batch, messages))
        ]


class Bench:
    """The steps of one database, each with the seconds that it took, by wall and by processor."""

    def __init__(self, ledger: Ledger, run: RunRef, *, batch: int, has_parts: bool) -> None:
        self._ledger, self._run, self._batch, self._has_parts = ledger, run, batch, has_parts
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.turns: list[float] = []

    def _note(self, step: str, wall: float, cpu: float) -> None:
        self.seconds[step] += time.perf_counter() - wall
        self.cpu[step] += time.process_time() - cpu

    async def snapshot(self, messages: int) -> None:
        """Put the audience into the run."""
        channel = Channel.SMS if self._has_parts else Channel.EMAIL
        wall, cpu = time.perf_counter(), time.process_time()
        result = await self._ledger.snapshot(self._run, audience(channel, messages, self._batch))
        self._note("snapshot", wall, cpu)
        if result.added != messages:
            raise RuntimeError(f"{result.added} of {messages} messages were added")

    async def drain(self, turn: int) -> None:
        """One sender, until nothing is left, with ``turn`` messages on the wire or in batches."""
        if turn:
            await self._drain_in_turns(turn)
        else:
            await self._drain_in_batches()

    async def _drain_in_turns(self, turn: int) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            lease = await self._ledger.claim(self._run, limit=self._batch, lease=LEASE)
            self._note("claim", wall, cpu)
            if not lease.messages:
                return
            wire: Sequence[ClaimedMessage] = ()
            for start in range(0, len(lease.messages) + turn, turn):
                results = [self._accepted(message) for message in wire]
                wire = lease.messages[start : start + turn]
                wall, cpu = time.perf_counter(), time.process_time()
                await self._ledger.turn(
                    self._run,
                    lease.id,
                    results,
                    [message.id for message in wire],
                    StandardRetry(),
                    bind=BIND,
                )
                self._note("turn", wall, cpu)
                self.turns.append(time.perf_counter() - wall)
            await self._ledger.release(self._run, lease.id)

    async def _drain_in_batches(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            lease = await self._ledger.claim(self._run, limit=self._batch, lease=LEASE)
            self._note("claim", wall, cpu)
            if not lease.messages:
                return
            wall, cpu = time.perf_counter(), time.process_time()
            await self._ledger.intend(
                self._run, lease.id, [message.id for message in lease.messages]
            )
            self._note("intend", wall, cpu)
            results = [self._accepted(message) for message in lease.messages]
            wall, cpu = time.perf_counter(), time.process_time()
            await self._ledger.settle(self._run, lease.id, results, StandardRetry(), bind=BIND)
            self._note("settle", wall, cpu)
            await self._ledger.release(self._run, lease.id)

    def _accepted(self, message: ClaimedMessage) -> Delivery:
        outcome = Outcome(
            kind=OutcomeKind.ACCEPTED,
            code="250",
            enhanced="2.0.0",
            text=f"2.0.0 Ok: queued as {message.id.hex[:11].upper()}",
            provider_id=message.id.hex[:11].upper(),
        )
        parts = (PartOutcome(part=1, parts=1, outcome=outcome),) if self._has_parts else ()
        return Delivery(message_id=message.id, outcome=outcome, parts=parts)


async def measure(url: str, options: argparse.Namespace) -> dict[str, object]:
    """One run on one database."""
    database = Database(url, pool_size=options.senders + 2)
    await upgrade(database)
    ledger, run = open_ledger(database), await open_bench_run(database)
    bench = Bench(ledger, run, batch=options.batch, has_parts=options.parts)
    messages = options.messages
    try:
        await bench.snapshot(messages)
        before = await server_seconds(database)
        began = time.perf_counter()
        await asyncio.gather(*(bench.drain(options.turn) for _ in range(options.senders)))
        drained = time.perf_counter() - began
        served = await server_seconds(database) - before
        began = time.perf_counter()
        if (await ledger.counts(run))[MessageState.SENT] != messages:
            raise RuntimeError("not every message was sent")
        counted = time.perf_counter() - began
    finally:
        await database.close()
    return {
        "database": database.dialect,
        "messages": messages,
        "batch": options.batch,
        "senders": options.senders,
        "parts": options.parts,
        "turn": options.turn,
        "turn_milliseconds": {
            "median": round(1000 * sorted(bench.turns)[len(bench.turns) // 2], 2),
            "99th": round(1000 * sorted(bench.turns)[len(bench.turns) * 99 // 100], 2),
        }
        if bench.turns
        else None,
        "count_seconds": round(counted, 3),
        "per_second": {step: round(messages / spent) for step, spent in bench.seconds.items()}
        | {"drain": round(messages / drained)},
        "cpu_microseconds_each": {
            step: round(spent * 1e6 / messages, 1) for step, spent in bench.cpu.items()
        }
        | {"server's drain": round(served * 1e6 / messages, 1)},
    }


async def server_seconds(database: Database) -> float:
    """Processor time of this database's sessions, where its server runs on this machine."""
    if database.dialect == "sqlite":
        return 0.0
    async with database.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        )
        ticks = 0
        for (pid,) in rows.all():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure the given database, or one of each kind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a database to measure, else a fresh one of each kind")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--senders", type=int, default=1)
    parser.add_argument("--turn", type=int, default=0, help="messages on the wire at a time")
    parser.add_argument("--parts", action="store_true", help="SMS with a segment each")
    options = parser.parse_args()

    def show(url: str) -> None:
        print(json.dumps(asyncio.run(measure(url, options))), flush=True)

    if options.url:
        show(options.url)
        return
    with tempfile.TemporaryDirectory() as folder:
        show(f"sqlite:///{Path(folder) / 'ignition.db'}")
    with running_postgres(durable=True) as server:
        show(server.url)


if __name__ == "__main__":
    main()
