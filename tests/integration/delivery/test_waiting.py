"""A sender that has nothing to claim waits for what others hold, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.delivery.waiting import count_due, wait_for_work
from ignition_ext.ledger.runs import set_run_state
from ignition_ext.values import LeaseId, MessageState, RunState

LONG = timedelta(minutes=5)
NEVER = timedelta(hours=1)
"""Longer than a test may take: who returns was woken by what happened."""


async def hold(stage: Any, lease: timedelta = LONG) -> LeaseId:
    """Another sender claims all there is."""
    claimed = await stage.ledger.claim(stage.run, limit=10, lease=lease)
    assert claimed.messages
    return LeaseId(claimed.id)


def waiting(stage: Any, longest: timedelta = NEVER) -> asyncio.Task[None]:
    return asyncio.create_task(
        wait_for_work(
            stage.database,
            stage.ledger,
            stage.run,
            RunState.OPEN,
            longest=longest,
            look_every=0.02,
        )
    )


async def test_a_dead_senders_share_is_free_when_its_lease_lapses(stage: Any) -> None:
    """Who waits settles it, and can claim it then."""
    await stage.fill("ada@example.com", "bob@example.com")
    await hold(stage, timedelta(milliseconds=300))
    assert await count_due(stage.database, stage.run, most=10) == 0
    await waiting(stage)

    assert set((await stage.states()).values()) == {MessageState.PENDING}
    assert await count_due(stage.database, stage.run, most=10) == 2
    assert await count_due(stage.database, stage.run, most=1) == 1


async def test_what_another_gives_back_is_there_at_once(stage: Any) -> None:
    """It stopped, and others go on without waiting for any lease."""
    await stage.fill("ada@example.com")
    lease = await hold(stage)
    task = waiting(stage)
    await asyncio.wait({task}, timeout=0.2)
    assert not task.done()
    await stage.ledger.release(stage.run, lease)
    await task

    assert await count_due(stage.database, stage.run, most=10) == 1


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.CANCELLED])
async def test_the_operators_word_ends_the_waiting(stage: Any, state: RunState) -> None:
    """However long the lease."""
    await stage.fill("ada@example.com")
    await hold(stage)
    task = waiting(stage)
    await set_run_state(stage.database, stage.run.id, state, reason="", actor="test")
    await task


async def test_there_is_an_end_to_waiting(stage: Any) -> None:
    """So that a sender shows now and then that it is there."""
    await stage.fill("ada@example.com")
    await hold(stage)
    await waiting(stage, timedelta(milliseconds=100))

    assert await stage.states() == {"ada@example.com": MessageState.CLAIMED}
