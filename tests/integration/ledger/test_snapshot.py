"""Snapshots: each address once, a second time nothing, no more than asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ignition_ext.ledger.contract import NewMessage, SnapshotResult
from ignition_ext.ledger.runs import set_run_state
from ignition_ext.values import Channel, MessageState, RunState

ADDRESSES = [f"u{number}@example.com" for number in range(25)]


async def finish(scene: Any, run: Any) -> None:
    await scene.ledger.finish_snapshot(run, skipped=1, rejected=2, duplicates=3)


async def test_a_second_snapshot_adds_nothing(
    scene: Any, new_messages: Any, in_batches: Any
) -> None:
    """Interrupted and begun again, or repeated whole: each address stands once."""
    run = await scene.run(*ADDRESSES[:10])

    again = await scene.ledger.snapshot(run, in_batches(new_messages(*ADDRESSES), 7))

    assert again == SnapshotResult(added=15, known=10)
    assert (await scene.ledger.counts(run))[MessageState.PENDING] == 25


async def test_a_finished_snapshot_is_not_read_again(scene: Any, new_messages: Any) -> None:
    """A retried run means the audience of its first time, however that changed meanwhile."""
    run = await scene.run(*ADDRESSES[:10])
    await finish(scene, run)

    async def unread() -> AsyncIterator[list[NewMessage]]:
        raise AssertionError("the source was read")
        yield []

    assert await scene.ledger.snapshot(run, unread()) == SnapshotResult(added=0, known=10)
    rows = await scene.execute("SELECT skipped, rejected, duplicates FROM campaign_run")
    assert tuple(rows[0]) == (1, 2, 3)


async def test_equal_addresses_in_a_batch_stand_once(
    scene: Any, new_messages: Any, in_batches: Any
) -> None:
    """The first one stays; the same address on another channel is another message."""
    run = await scene.run()
    twice = [
        *new_messages(*ADDRESSES[:3]),
        NewMessage(channel=Channel.EMAIL, address=ADDRESSES[0], domain="second"),
        *new_messages(ADDRESSES[0], channel=Channel.SMS),
    ]

    result = await scene.ledger.snapshot(run, in_batches(twice))

    assert result == SnapshotResult(added=4, known=1)
    domains = await scene.execute(
        "SELECT domain FROM message WHERE channel = 'email' AND address = :a", a=ADDRESSES[0]
    )
    assert [row[0] for row in domains] == ["example.com"]


async def test_a_message_is_the_same_whichever_way_it_came(
    scene: Any, new_messages: Any, in_batches: Any
) -> None:
    """Copied at once where all are new, or by way of a look at what is there, with a limit."""
    later = datetime(2100, 1, 1, tzinfo=UTC)
    messages = [
        *new_messages("plain@example.com", "wei\\rd\t'x'@example.com"),
        NewMessage(
            channel=Channel.EMAIL,
            address="full@example.com",
            domain="ex\\ample.com",
            locale="pt-BR",
            timezone="Europe/Berlin",
            not_before=later,
            data={"name": 'Zoë "Z"\n\\ \t\U0001f600', "none": None, "nested": {"a": [1, 2.5]}},
        ),
    ]
    rows = []
    for limit in (None, 10):
        run = await scene.run(max_messages=limit)
        assert (await scene.ledger.snapshot(run, in_batches(messages))).added == 3
        rows.append(
            await scene.execute(
                "SELECT m.tenant_id, m.recipient_id, m.channel, m.address, m.domain, m.locale,"
                " m.timezone, m.data, m.state, m.seq, m.attempts, m.resends, m.code, m.enhanced,"
                " m.detail, m.provider_id, m.parts, m.lease_id, m.sent_at, m.intended_at,"
                " m.created_at = m.updated_at, m.not_before = d.not_before,"
                " m.not_before > m.created_at"
                " FROM message m JOIN message_due d ON d.id = m.id AND d.run_at = m.run_at"
                " WHERE m.run_id = :run ORDER BY m.id",
                run=run.id if scene.database.dialect == "postgresql" else run.id.hex,
            )
        )

    assert [tuple(row) for row in rows[0]] == [tuple(row) for row in rows[1]]
    assert [bool(row[-1]) for row in rows[0]] == [False, False, True]


async def test_a_limit_holds_over_batches_and_repeats(
    scene: Any, new_messages: Any, in_batches: Any
) -> None:
    """--limit N puts N messages into the run, also when the snapshot was interrupted."""
    run = await scene.run(*ADDRESSES[:4], max_messages=6)

    for _ in range(2):
        await scene.ledger.snapshot(run, in_batches(new_messages(*ADDRESSES), 5))

    assert list(await scene.rows(run)) == sorted(ADDRESSES[:6])


async def test_two_snapshots_at_once_are_one(
    scene: Any, new_messages: Any, in_batches: Any
) -> None:
    """Two processes that fill one run do not double it, nor wait for each other forever."""
    run = await scene.run(max_messages=20)
    messages = new_messages(*ADDRESSES)

    results = await asyncio.gather(
        scene.ledger.snapshot(run, in_batches(messages, 3)),
        scene.ledger.snapshot(run, in_batches(messages[::-1], 3)),
    )

    assert sum(result.added for result in results) == 20


async def test_a_cancelled_run_takes_no_more(
    scene: Any, new_messages: Any, in_batches: Any
) -> None:
    """A cancel during the snapshot ends it, and it is not marked as whole."""
    run = await scene.run(*ADDRESSES[:3])
    await set_run_state(scene.database, run.id, RunState.CANCELLED, reason="stop", actor="test")

    result = await scene.ledger.snapshot(run, in_batches(new_messages(*ADDRESSES)))
    await finish(scene, run)

    assert result.added == 0
    assert (await scene.execute("SELECT snapshot_at FROM campaign_run"))[0][0] is None


async def test_a_held_message_is_pending_until_its_time(
    scene: Any, new_messages: Any, in_batches: Any
) -> None:
    """Quiet hours: pending with not_before, named by the claim that passes it over."""
    run = await scene.run()
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    held = NewMessage(
        channel=Channel.EMAIL, address="late@example.com", domain="", not_before=later
    )
    await scene.ledger.snapshot(run, in_batches([held, *new_messages(ADDRESSES[0])]))

    lease = await scene.ledger.claim(run, limit=10, lease=timedelta(minutes=1))

    assert [message.address for message in lease.messages] == [ADDRESSES[0]]
    assert lease.next_at == later
    assert (await scene.states(run))["late@example.com"] == "pending"
