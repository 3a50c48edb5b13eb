"""Real connections and processes side by side: each message goes to one of them, once."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlmodel import update

from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.runs import set_run_state
from ignition_ext.models import Message
from ignition_ext.values import Delivery, MessageState, Outcome, OutcomeKind, RunState

DRAIN = Path(__file__).with_name("drain.py")
ADDRESSES = [f"u{number}@example.com" for number in range(2000)]
ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, code="250")
MINUTE = timedelta(minutes=1)


async def drain(scene: Any, run: Any, batch: int) -> list[Any]:
    """One sender with a pool of its own; the ids that it was granted."""
    database = Database(str(scene.database.url.render_as_string(hide_password=False)))
    ledger = open_ledger(database)
    granted: list[Any] = []
    try:
        while (lease := await ledger.claim(run, limit=batch, lease=MINUTE)).messages:
            ids = [message.id for message in lease.messages]
            allowed = await ledger.intend(run, lease.id, ids)
            granted += allowed
            deliveries = [Delivery(message_id=key, outcome=ACCEPTED) for key in allowed]
            await ledger.settle(run, lease.id, deliveries, scene.retry)
    finally:
        await database.close()
    return granted


async def test_four_claimers_share_a_run(scene: Any) -> None:
    """2,000 messages, four senders: each message is granted once, and all are sent."""
    run = await scene.run(*ADDRESSES)

    shares = await asyncio.gather(*(drain(scene, run, 150) for _ in range(4)))

    granted = [key for share in shares for key in share]
    assert len(granted) == len(set(granted)) == len(ADDRESSES)
    assert (await scene.ledger.counts(run))[MessageState.SENT] == len(ADDRESSES)


async def test_two_processes_share_a_run(scene: Any) -> None:
    """Two processes on one database, SQLite's file too: each message is granted once."""
    run = await scene.run(*ADDRESSES[:600])
    arguments = [
        scene.database.url.render_as_string(hide_password=False),
        str(run.id),
        run.run_at.isoformat(),
        str(run.tenant_id),
        "50",
    ]

    senders = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(DRAIN), *arguments, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = await asyncio.gather(*(sender.communicate() for sender in senders))

    assert [sender.returncode for sender in senders] == [0, 0]
    granted = [line for out, _ in outputs for line in out.decode().split()]
    assert len(granted) == len(set(granted)) == 600
    assert (await scene.ledger.counts(run))[MessageState.SENT] == 600


async def test_a_cancel_between_claims_leaves_nothing_open(scene: Any) -> None:
    """Cancel waits for claims under way; what they took is cancelled with the rest."""
    run = await scene.run(*ADDRESSES[:400])

    async def stop() -> None:
        await set_run_state(scene.database, run.id, RunState.CANCELLED, reason="", actor="x")
        await scene.ledger.cancel_open(run, MessageState.CANCELLED)

    shares = await asyncio.gather(*(drain(scene, run, 20) for _ in range(3)), stop())

    sent = sum(len(share) for share in shares[:3])
    counts = {state: n for state, n in (await scene.ledger.counts(run)).items() if n}
    assert counts.get(MessageState.SENT, 0) == sent
    assert counts.get(MessageState.CANCELLED, 0) == 400 - sent


async def test_renewals_settles_and_recoveries_never_deadlock(scene: Any) -> None:
    """All that locks many rows does so in one order."""
    run = await scene.run(*ADDRESSES[:300])
    lease, ids = await scene.claim(run, 300)
    await scene.ledger.intend(run, lease, list(ids.values()))
    deliveries = [Delivery(message_id=key, outcome=ACCEPTED) for key in ids.values()]

    async def settle() -> None:
        for start in range(300, 0, -30):
            batch = deliveries[start - 30 : start][::-1]
            await scene.ledger.settle(run, lease, batch, scene.retry)

    async def renew() -> None:
        for _ in range(10):
            await scene.ledger.renew(run, lease, MINUTE)

    async def recover() -> None:
        for _ in range(10):
            await scene.ledger.recover()
            await scene.ledger.release(run, lease)

    await asyncio.gather(settle(), renew(), renew(), recover())

    assert (await scene.ledger.counts(run))[MessageState.SENT] == 300


async def test_a_turn_waits_for_another_writer_and_holds_up_nobody(scene: Any) -> None:
    """What the event loop could do at once is done elsewhere while others hold the lock."""
    run = await scene.run(*ADDRESSES[:3])
    lease, ids = await scene.claim(run)

    async with scene.database.write() as session:
        await session.exec(update(Message).values(detail="held"))
        turn = asyncio.create_task(scene.ledger.intend(run, lease, list(ids.values())))
        done, _ = await asyncio.wait([turn], timeout=0.2)
        assert not done

    assert await turn == set(ids.values())


async def test_a_stopped_caller_leaves_no_lock(scene: Any) -> None:
    """Cancelling a task in the middle of a call rolls back or commits, and frees the database."""
    run = await scene.run(*ADDRESSES[:200])
    for turns in range(12):
        task = asyncio.create_task(scene.ledger.claim(run, limit=5, lease=MINUTE))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await scene.lapse(run)
    _, ids = await scene.claim(run, 500)
    assert len(ids) == 200
