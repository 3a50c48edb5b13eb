"""A sender that is killed with -9 in the middle: nothing is lost, what is repeated has its id."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ignition_ext.orchestration.outcomes import relay_once

MESSAGES, BATCHES = 1200, 24
BOUND_SECONDS = 180


@pytest.mark.timeout(600)
async def test_a_killed_sender_loses_nothing(world: Any, hook: Any) -> None:
    """While messages come and it sends, it dies three times; the receiver has each outcome."""
    await world.add(hook.url, "ignition.message.*")
    people = [f"a{number:04}@example.com" for number in range(MESSAGES)]
    run = await world.run(*people)
    for death in range(1, 4):
        before = len(hook.requests)
        sender = await _start(world)
        try:
            while len(hook.requests) < before + death:
                await world.send(run, limit=MESSAGES // BATCHES)
                hook.came.clear()
                async with asyncio.timeout(BOUND_SECONDS):
                    await hook.came.wait()
        finally:
            sender.send_signal(signal.SIGKILL)
            await sender.wait()
        await _lapse(world)
    while await world.send(run, limit=200):
        pass

    done = await relay_once(world.database, world.settings, None, seconds=BOUND_SECONDS)
    assert done.errors == {}

    by_id = defaultdict(set)
    told: list[str] = []
    for request in hook.requests:
        key = request.headers["webhook-id"]
        if key not in by_id:
            told += [one["address"] for one in request.document["data"].get("messages", ())]
        by_id[key].add(request.body)
    assert sorted(told) == people
    assert all(len(bodies) == 1 for bodies in by_id.values())
    assert {row.state for row in await world.deliveries()} == {"delivered"}


async def _start(world: Any) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "IGNITION_WEBHOOK_ALLOW_PRIVATE": world.settings.webhook_allow_private,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("sender.py")),
        world.database.url.render_as_string(hide_password=False),
        env=environment,
    )


async def _lapse(world: Any) -> None:
    """As if the dead one's lease had run out."""
    async with world.database.engine.begin() as connection:
        await connection.execute(text("UPDATE webhook_endpoint SET lease_until = NULL"))
