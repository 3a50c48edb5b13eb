"""The process that is measured by ``ignition bench ledger``: nothing is sent between.

``python -m ignition_ext.bench.ledger_load`` reads a job as JSON on stdin and prints what it came
to as JSON on stdout: first all messages are claimed, intended and settled in large batches; then a
few more by way of the journal, where each call settles some and intends as many others.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from ignition_ext.bench.meter import Meter, measured, peak_rss_mb
from ignition_ext.bench.sender import run_of
from ignition_ext.database import Database
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import ClaimedMessage, Ledger
from ignition_ext.ledger.journal import LedgerJournal
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.schema import database_errors, require_current
from ignition_ext.values import Delivery, Outcome, OutcomeKind, RunRef

LEASE = timedelta(minutes=10)
TURN = 10
"""Messages that one turn settles, and as many that it intends: ten connections."""
Job = dict[str, Any]
T = TypeVar("T")


def accepted(message: ClaimedMessage) -> Delivery:
    """What an SMTP server's reply becomes."""
    key = message.id.hex[-12:].upper()
    return Delivery(
        message_id=message.id,
        outcome=Outcome(
            kind=OutcomeKind.ACCEPTED,
            code="250",
            enhanced="2.0.0",
            text=f"2.0.0 Ok: queued as {key}",
            provider_id=key,
        ),
    )


class Steps:
    """Seconds of each step, by its name."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    async def timed(self, name: str, work: Awaitable[T]) -> T:
        """What the work comes to; its time is added."""
        began = time.perf_counter()
        done = await work
        self.seconds[name] += time.perf_counter() - began
        return done


async def drain(ledger: Ledger, run: RunRef, job: Job) -> tuple[Meter, Steps]:
    """Claim, intend and settle, a batch at a time."""
    retry, steps, left = StandardRetry(), Steps(), job["messages"]
    gc.collect()
    with measured() as meter:
        while left:
            claiming = ledger.claim(run, limit=min(left, job["batch"]), lease=LEASE)
            lease = await steps.timed("claim", claiming)
            ids = [message.id for message in lease.messages]
            granted = await steps.timed("intend", ledger.intend(run, lease.id, ids))
            if not ids or len(granted) != len(ids):
                raise IgnitionError(f"{left} messages could not be claimed and intended.")
            results = [accepted(message) for message in lease.messages]
            await steps.timed("settle", ledger.settle(run, lease.id, results, retry))
            left -= len(ids)
    return meter, steps


async def turns(ledger: Ledger, run: RunRef, count: int) -> Sequence[float]:
    """Milliseconds of each of so many turns, in ascending order."""
    lease = await ledger.claim(run, limit=(count + 1) * TURN, lease=LEASE)
    journal = LedgerJournal(ledger, run, lease.id, StandardRetry())
    groups = [lease.messages[at : at + TURN] for at in range(0, len(lease.messages), TURN)]
    before: Sequence[ClaimedMessage] = ()
    took = []
    for group in groups:
        began = time.perf_counter()
        await journal.turn([accepted(one) for one in before], [one.id for one in group])
        took.append((time.perf_counter() - began) * 1000)
        before = group
    await journal.settle([accepted(one) for one in before])
    return sorted(took[1:])  # the first one settled nothing


async def load(job: Job) -> dict[str, Any]:
    """Both measurements."""
    run, database = run_of(job), Database(job["database"])
    try:
        await require_current(database)
        with database_errors(database):
            ledger = open_ledger(database)
            meter, steps = await drain(ledger, run, job)
            took = await turns(ledger, run, job["turns"])
    finally:
        await database.close()
    return {
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "peak_rss_mb": peak_rss_mb(),
        **{f"{name}_rate": job["messages"] / spent for name, spent in steps.seconds.items()},
        "turn_p50_ms": took[len(took) // 2],
        "turn_p99_ms": took[len(took) * 99 // 100],
    }


def main() -> int:
    """Load the ledger that stdin names."""
    try:
        answer = asyncio.run(load(json.load(sys.stdin)))
    except IgnitionError as error:
        answer = {"error": error.message, "mend": error.mend}
    json.dump(answer, sys.stdout)
    return int("error" in answer)


if __name__ == "__main__":
    sys.exit(main())
