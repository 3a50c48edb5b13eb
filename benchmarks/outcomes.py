"""How many outcomes a second are derived, laid out and sent, and what their index costs a settle.

``python benchmarks/outcomes.py [--messages N] [--postgres URL] [--json]``. On SQLite in a new file;
with ``--postgres`` in a new database on that server, else on one that is started for it. The
receiver is a process of its own on loopback, which answers 204 and does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from ignition_ext.database import Database
from ignition_ext.devtools.postgres import new_database, postgres_server
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.outcomes.endpoints import add_endpoint
from ignition_ext.outcomes.messages import derive_messages
from ignition_ext.outcomes.sending import WebhookSender
from ignition_ext.schema import upgrade
from ignition_ext.settings import Settings
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, Delivery, Outcome, OutcomeKind, RunRef

BATCH = 2000
SENT = Outcome(
    kind=OutcomeKind.ACCEPTED, code="250", enhanced="2.0.0", text="2.0.0 Ok: queued as 4F1A2B3C4D"
)
Figures = dict[str, float]


async def answer(port_to: Connection) -> None:
    """Take every request and say 204."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port_to.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@contextmanager
def receiver() -> Iterator[str]:
    """The URL of a receiver in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_answer, args=(theirs,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{ours.recv()}/"
    process.terminate()
    process.join()


def _answer(port_to: Connection) -> None:
    asyncio.run(answer(port_to))


async def fill(database: Database, messages: int) -> tuple[RunRef, float]:
    """A run whose messages were all sent; returns how many a second were settled, too."""
    tenant = await create_tenant(database, name="acme", actor="bench")
    assert tenant.id is not None
    campaign = Campaign(tenant_id=tenant.id, name="news", version=1)
    async with database.write() as session:
        session.add(campaign)
    assert campaign.id is not None
    request = RunRequest(tenant_id=tenant.id, campaign_id=campaign.id, campaign_version=1)
    run = (await open_run(database, request, actor="bench")).ref
    ledger = open_ledger(database)

    async def batches() -> AsyncIterator[Sequence[NewMessage]]:
        for start in range(0, messages, BATCH):
            yield [
                NewMessage(
                    channel=Channel.EMAIL,
                    address=f"a{number:08}@example.com",
                    domain="example.com",
                    data={},
                )
                for number in range(start, min(start + BATCH, messages))
            ]

    await ledger.snapshot(run, batches())
    settling = 0.0
    while True:
        lease = await ledger.claim(run, limit=BATCH, lease=timedelta(minutes=5))
        ids = [message.id for message in lease.messages]
        if not ids:
            return run, messages / settling
        await ledger.intend(run, lease.id, ids)
        results = [Delivery(message_id=one, outcome=SENT) for one in ids]
        began = time.perf_counter()
        await ledger.settle(run, lease.id, results, StandardRetry())
        settling += time.perf_counter() - began


async def derive(database: Database) -> float:
    """Seconds until nothing is left to derive."""
    began = time.perf_counter()
    while (await derive_messages(database)).more:
        pass
    return time.perf_counter() - began


async def measure(url: str, messages: int, *, index: bool) -> Figures:
    """One database: settled without and with a webhook, derived, sent."""
    database = Database(url)
    await upgrade(database)
    if not index:
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("DROP INDEX ix_message_event_at")
    _, settled = await fill(database, messages)
    figures = {"settled_per_second": settled}
    if index:
        before = await _cursor(database)
        figures["counted_for_prefect_per_second"] = messages / await derive(database)
        with receiver() as address:
            settings = Settings(webhook_allow_private="127.0.0.0/8")
            await add_endpoint(
                database, tenant="acme", url=address, events=(), actor="bench", settings=settings
            )
            await _set_back(database, before)
            figures["laid_out_for_a_webhook_per_second"] = messages / await derive(database)
            began = time.perf_counter()
            async with WebhookSender(database, settings) as sender:
                sent = await sender.send_due(seconds=600)
            if sent.failed or sent.errors:
                raise IgnitionError(f"not everything was sent: {sent}")
            figures["sent_to_a_webhook_per_second"] = messages / (time.perf_counter() - began)
            figures["pass_with_nothing_new_ms"] = 1000 * await derive(database)
    await database.close()
    return figures


async def _cursor(database: Database) -> tuple[object, object]:
    async with database.engine.begin() as connection:
        query = "SELECT position, moved_at FROM outcome_cursor WHERE name = 'messages'"
        position, moved_at = (await connection.exec_driver_sql(query)).one()
    return position if isinstance(position, str) else json.dumps(position), moved_at


async def _set_back(database: Database, before: tuple[object, object]) -> None:
    """As if nothing had been derived: the same work is done for a webhook."""
    mark = "?" if database.dialect == "sqlite" else "%s"
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE outcome_cursor SET position = {mark}, moved_at = {mark}"
            " WHERE name = 'messages'",
            before,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--postgres", help="URL of a server on which a database may be made")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PREFECT_HOME"] = folder
        for index in (False, True):
            url = f"sqlite:///{Path(folder) / f'{index}.db'}"
            name = "sqlite" if index else "sqlite, without the index"
            found[name] = asyncio.run(measure(url, options.messages, index=index))
        with nullcontext(options.postgres) if options.postgres else postgres_server() as server:
            for index in (False, True):
                name = "postgresql" if index else "postgresql, without the index"
                with new_database(server) as url:
                    found[name] = asyncio.run(measure(url, options.messages, index=index))
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        return
    for name, figures in found.items():
        print(name)
        for what, figure in figures.items():
            print(f"  {what:36} {figure:12,.1f}")


if __name__ == "__main__":
    main()
