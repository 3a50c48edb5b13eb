"""How many delivery receipts a second a listener stores, from the wire to the database.

``python benchmarks/receipts.py [--url URL] [--receipts N] [--window N] [--in-order]``

Without ``--url`` it uses a PostgreSQL server of its own with durable commits, then a fresh SQLite
file. A run of N messages is sent first, into the ledger alone. Then an SMSC in a process of its
own brings their receipts, in random order and with so many unanswered as the window allows, to a
listener as ``ignition receipts listen`` runs one. The time is from the first receipt to the last
acknowledgement: each was stored, matched and made its message ``delivered`` before. Prints one
JSON line for each database; processor time is what other programs on the machine change little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from ledger import server_seconds

from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.database import Database
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.postgres import running_postgres
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Ledger, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.returns.sms_listening import Listening, listen
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
BATCH = 2000


def address(number: int) -> str:
    """The handset that the receipt of this number is about."""
    return f"+49151{number:08d}"


# ------------------------------------------------------------------ the far side


class Smsc(asyncio.Protocol):
    """Takes one bind and brings the receipts of ``ids``; says how long that took."""

    def __init__(self, ids: Sequence[int], window: int) -> None:
        self._ids, self._window = ids, window
        self._next = self._answered = 0
        self._began = 0.0
        self._held = b""
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The listener came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the bind; bring as many receipts as were answered."""
        self._held += data
        answered = 0
        while len(self._held) >= 16 and len(self._held) >= int.from_bytes(self._held[:4], "big"):
            length = int.from_bytes(self._held[:4], "big")
            _, command, status, sequence = wire.HEADER.unpack_from(self._held)
            self._held = self._held[length:]
            if command == wire.DELIVER_SM | wire.RESPONSE:
                if status:
                    self.done.set_exception(RuntimeError(f"refused: {status:#x}"))
                    return
                answered += 1
            elif command & wire.RESPONSE == 0:
                body = wire.string("bench") if command == wire.BIND_TRANSCEIVER else b""
                self._transport.write(wire.pack(command | wire.RESPONSE, 0, sequence, body))
                if command == wire.BIND_TRANSCEIVER:
                    self._began = time.perf_counter()
                    self._bring(self._window)
        self._answered += answered
        if answered:
            self._bring(answered)
        if self._answered == len(self._ids) and not self.done.done():
            self.done.set_result(time.perf_counter() - self._began)

    def _bring(self, count: int) -> None:
        chosen = self._ids[self._next : self._next + count]
        self._next += len(chosen)
        self._transport.write(b"".join(receipt(number) for number in chosen))


def receipt(number: int) -> bytes:
    """The deliver_sm that tells of a message."""
    words = (
        f"id:{number:010d} sub:001 dlvrd:001 submit date:2611211200 done date:2611211201"
        f" stat:DELIVRD err:000 text:Hello"
    ).encode()
    body = b"".join(
        (
            wire.string(""),
            b"\1\1" + wire.string(address(number)[1:]),
            b"\5\0" + wire.string("Acme"),
            b"\4\0\0\0\0\0\0\0\0",
            bytes((len(words),)),
            words,
        )
    )
    return wire.pack(wire.DELIVER_SM, 0, number + 1, body)


async def serve(count: int, window: int, is_in_order: bool) -> None:
    """The SMSC as a program: prints its port, then the seconds."""
    ids = list(range(count))
    if not is_in_order:
        random.Random(1).shuffle(ids)
    smsc = Smsc(ids, window)
    server = await asyncio.get_running_loop().create_server(lambda: smsc, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    print(await smsc.done, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# ------------------------------------------------------------------ our side


async def sent_run(database: Database, ledger: Ledger, count: int, bind: str) -> RunRef:
    """A run, each message of which was accepted with an id by the bind."""
    tenant = await create_tenant(database, name=f"bench-{uuid4().hex[:8]}", actor="bench")
    assert tenant.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id, name="bench")
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
        campaign_id = campaign.id
    request = RunRequest(tenant_id=tenant.id, campaign_id=campaign_id, campaign_version=1)
    run = (await open_run(database, request, actor="bench")).ref

    async def batches() -> AsyncIterator[Sequence[NewMessage]]:
        for start in range(0, count, BATCH):
            yield [
                NewMessage(channel=Channel.SMS, address=address(number), domain="49")
                for number in range(start, min(start + BATCH, count))
            ]

    await ledger.snapshot(run, batches())
    while True:
        lease = await ledger.claim(run, limit=BATCH, lease=LEASE)
        if not lease.messages:
            return run
        await ledger.intend(run, lease.id, [message.id for message in lease.messages])
        results = []
        for message in lease.messages:
            number = int(message.address.removeprefix("+49151"))
            outcome = Outcome(kind=OutcomeKind.ACCEPTED, code="0x0", provider_id=f"{number:010d}")
            part = PartOutcome(part=1, parts=1, outcome=outcome)
            results.append(Delivery(message_id=message.id, outcome=outcome, parts=(part,)))
        await ledger.settle(run, lease.id, results, StandardRetry(), bind=bind)
        await ledger.release(run, lease.id)


async def measure(url: str, options: argparse.Namespace) -> dict[str, object]:
    """One run's receipts into one database."""
    order = ["--in-order"] if options.in_order else []
    far = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--serve", "--receipts", str(options.receipts)),
        *("--window", str(options.window), *order),
        stdin=PIPE,
        stdout=PIPE,
    )
    assert far.stdin is not None
    assert far.stdout is not None
    port = int(await far.stdout.readline())
    account = SmppOptions(host="127.0.0.1", port=port, system_id="bench", password="bench")
    database = Database(url)
    stop = asyncio.Event()
    try:
        await upgrade(database)
        ledger = open_ledger(database)
        run = await sent_run(database, ledger, options.receipts, account.bind_name)
        cpu, served = time.process_time(), await server_seconds(database)
        listening = asyncio.create_task(
            listen(database, account, Listening(), stop=stop, tell=lambda _: None)
        )
        seconds = float(await far.stdout.readline())
        cpu, served = time.process_time() - cpu, await server_seconds(database) - served
        stop.set()
        await listening
        if (await ledger.counts(run))[MessageState.DELIVERED] != options.receipts:
            raise RuntimeError("not every message was delivered")
    finally:
        await database.close()
        far.stdin.close()
        await far.wait()
    return {
        "database": database.dialect,
        "receipts": options.receipts,
        "window": options.window,
        "order": "as sent" if options.in_order else "random",
        "seconds": round(seconds, 2),
        "per_second": round(options.receipts / seconds),
        "cpu_microseconds_each": {
            "listener": round(cpu * 1e6 / options.receipts, 1),
            "server": round(served * 1e6 / options.receipts, 1),
        },
    }


def main() -> None:
    """Measure the given database, or one of each kind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a database to measure, else a fresh one of each kind")
    parser.add_argument("--receipts", type=int, default=50_000)
    parser.add_argument("--window", type=int, default=2000, help="receipts without an answer")
    parser.add_argument("--in-order", action="store_true", help="receipts in the order of sending")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.receipts, options.window, options.in_order))
        return

    def show(url: str) -> None:
        print(json.dumps(asyncio.run(measure(url, options))), flush=True)

    if options.url:
        show(options.url)
        return
    with running_postgres(durable=True) as server:
        show(server.url)
    with tempfile.TemporaryDirectory() as folder:
        show(f"sqlite:///{Path(folder) / 'ignition.db'}")


if __name__ == "__main__":
    main()
