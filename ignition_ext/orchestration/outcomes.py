"""Keeps everything moving that tells others: derives, lays out, tells Prefect, sends to webhooks.

One pass is what the flow ``outcomes`` does each minute; ``listen`` goes on for as long as it is
let, for those who want to be told within seconds. Both may run, on any number of nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prefect.client.orchestration import PrefectClient

from ignition_ext.database import Database
from ignition_ext.orchestration.outcome_events import tell_prefect
from ignition_ext.outcomes.happenings import announce_changes, announce_runs
from ignition_ext.outcomes.keeping import remove_old
from ignition_ext.outcomes.messages import derive_messages
from ignition_ext.outcomes.routing import route_announced
from ignition_ext.outcomes.sending import WebhookSender
from ignition_ext.settings import Settings

REST = 9
"""On SQLite a pass is followed by so many times its length of rest: a run that is being sent is
read again each time, and that takes at most a tenth of a processor."""
SWEEP_SECONDS = 600.0
LONGEST_PAUSE = 60.0
"""Seconds between two tries of a part that fails."""


@dataclass(slots=True)
class Relayed:
    """What a pass came to; ``errors`` says by part what went wrong."""

    changes: int = 0
    announced: int = 0
    told: int = 0
    delivered: int = 0
    failed: int = 0
    removed: int = 0
    errors: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = (
            (self.changes, "changes of messages"),
            (self.announced, "announcements"),
            (self.told, "events told to Prefect"),
            (self.delivered, "deliveries to webhooks"),
            (self.failed, "deliveries that failed"),
            (self.removed, "old rows removed"),
        )
        return ", ".join(f"{count} {words}" for count, words in counts if count) or "nothing to do"


async def relay_once(
    database: Database, settings: Settings, client: PrefectClient | None, *, seconds: float
) -> Relayed:
    """Derive, lay out, tell and send what there is; a part that fails does not stop the others.

    Args:
        database: Ignition's.
        settings: Ignition's.
        client: of Prefect; None where no server is to be told.
        seconds: after which nothing more is begun.
    """
    done = Relayed()

    async def gather() -> None:
        await _gather(database, done)

    async def tell() -> None:
        if client is not None:
            done.told += await tell_prefect(database, client)

    async def send() -> None:
        async with WebhookSender(database, settings) as sender:
            sent = await sender.send_due(seconds=seconds)
        done.delivered += sent.delivered
        done.failed += sent.failed
        if sent.errors:
            done.errors["webhooks"] = sent.errors[0]

    async def sweep() -> None:
        done.removed += await remove_old(database, days=settings.outcome_days)

    await _part(done, "outcomes", gather)
    await asyncio.gather(_part(done, "Prefect", tell), _part(done, "webhooks", send))
    await _part(done, "old rows", sweep)
    return done


async def _gather(database: Database, done: Relayed) -> None:
    """Write down all that is to be told."""
    while True:
        derived = await derive_messages(database)
        done.changes += derived.changes
        if not derived.more:
            break
    for announce in (announce_runs, announce_changes):
        while count := await announce(database):
            done.announced += count
    while await route_announced(database):
        pass


async def _part(done: Relayed, name: str, part: Callable[[], Awaitable[None]]) -> None:
    try:
        await part()
    except Exception as error:
        done.errors[name] = " ".join(f"{type(error).__name__}: {error}".split())


async def listen(
    database: Database,
    settings: Settings,
    client: PrefectClient | None,
    *,
    every: float,
    note: Callable[[str], None],
) -> None:
    """Go on until cancelled: each part in a loop of its own, so that none waits for another.

    Args:
        database: Ignition's.
        settings: Ignition's.
        client: of Prefect; None where no server is to be told.
        every: seconds between two looks.
        note: takes a line for people when something goes wrong, and when it is well again.
    """
    async with WebhookSender(database, settings) as sender, asyncio.TaskGroup() as group:

        async def gather() -> None:
            await _gather(database, Relayed())

        async def send() -> None:
            sent = await sender.send_due(seconds=LONGEST_PAUSE)
            if sent.errors:
                raise RuntimeError(sent.errors[0])

        async def sweep() -> None:
            await remove_old(database, days=settings.outcome_days)

        rest = REST if database.dialect == "sqlite" else 0
        group.create_task(_loop("outcomes", gather, every, note, rest=rest))
        group.create_task(_loop("webhooks", send, every, note))
        group.create_task(_loop("old rows", sweep, SWEEP_SECONDS, note))
        if client is not None:
            told = client

            async def tell() -> None:
                await tell_prefect(database, told)

            group.create_task(_loop("Prefect", tell, every, note))


async def _loop(
    name: str,
    part: Callable[[], Awaitable[None]],
    every: float,
    note: Callable[[str], None],
    *,
    rest: float = 0.0,
) -> None:
    clock, failures = asyncio.get_running_loop().time, 0
    while True:
        began = clock()
        try:
            await part()
        except Exception as error:
            failures += 1
            if failures == 1:
                words = " ".join(f"{type(error).__name__}: {error}".split())
                note(f"{name}: {words}. It is tried again.")
        else:
            if failures:
                note(f"{name}: well again.")
            failures = 0
        pause = min(every * 2**failures, max(every, LONGEST_PAUSE)) if failures else every
        await asyncio.sleep(max(pause, rest * (clock() - began)))
