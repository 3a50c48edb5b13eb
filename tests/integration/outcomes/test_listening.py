"""``ignition outcomes relay``: goes on for as long as it is let, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ignition_ext.orchestration.outcomes import listen

BOUND_SECONDS = 120


async def test_outcomes_arrive_while_it_listens(world: Any, hook: Any) -> None:
    """What happens is told without anybody asking, and a part that fails is tried again."""
    noted: list[str] = []
    ill, well = asyncio.Event(), asyncio.Event()

    def note(words: str) -> None:
        noted.append(words)
        (well if "well again" in words else ill).set()

    await world.add(hook.url, "ignition.message.*")
    run = await world.run("a@example.com", "b@example.com")
    listening = asyncio.create_task(
        listen(world.database, world.settings, None, every=0.05, note=note)
    )
    await world.send(run, limit=1)
    async with asyncio.timeout(BOUND_SECONDS):
        await hook.came.wait()
    hook.came.clear()
    async with world.database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE outbox_event RENAME TO away"))
    await world.send(run, limit=1)
    async with asyncio.timeout(BOUND_SECONDS):
        await ill.wait()
    async with world.database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO outbox_event"))
    async with asyncio.timeout(BOUND_SECONDS):
        await hook.came.wait()
        await well.wait()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)

    told = [
        message["address"]
        for request in hook.requests
        for message in request.document["data"]["messages"]
    ]
    assert sorted(told) == ["a@example.com", "b@example.com"]
    assert noted[0].startswith("outcomes: ")


@pytest.mark.timeout(300)
async def test_the_command_tells_until_it_is_stopped(world: Any, hook: Any) -> None:
    """SIGTERM ends it with exit 0."""
    await world.add(hook.url, "ignition.message.*")
    await world.send(await world.run("a@example.com"))
    environment = {
        **os.environ,
        "IGNITION_DATABASE_URL": world.database.url.render_as_string(hide_password=False),
        "IGNITION_WEBHOOK_ALLOW_PRIVATE": world.settings.webhook_allow_private,
    }
    command = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("ignition")),
        *("outcomes", "relay", "--every", "0.2"),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            await hook.came.wait()
        command.send_signal(signal.SIGTERM)
        _, told = await asyncio.wait_for(command.communicate(), BOUND_SECONDS)
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()

    assert command.returncode == 0, told.decode()
    assert "only webhooks are told" in told.decode()
