"""A sender of its own process: drains a run and prints the ids that it was granted, one a line.

Arguments: database URL, run id, run_at in ISO 8601, tenant id, batch.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta
from uuid import UUID

from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.values import Delivery, Outcome, OutcomeKind, RunId, RunRef, TenantId


async def main(url: str, run_id: str, run_at: str, tenant_id: str, batch: str) -> None:
    database = Database(url)
    ledger = open_ledger(database)
    run = RunRef(
        id=RunId(UUID(run_id)),
        run_at=datetime.fromisoformat(run_at),
        tenant_id=TenantId(int(tenant_id)),
    )
    accepted = Outcome(kind=OutcomeKind.ACCEPTED, code="250")
    while True:
        lease = await ledger.claim(run, limit=int(batch), lease=timedelta(minutes=1))
        if not lease.messages:
            break
        ids = [message.id for message in lease.messages]
        granted = await ledger.intend(run, lease.id, ids)
        print(*(key.hex for key in granted), sep="\n", flush=True)
        deliveries = [Delivery(message_id=key, outcome=accepted) for key in granted]
        await ledger.settle(run, lease.id, deliveries, StandardRetry())
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
