"""Takes in mails that came back for as long as a process lives, and settles them as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ignition_ext.errors import DatabaseError
from ignition_ext.returns.mail import Done, MailDesk
from ignition_ext.returns.mail_imap import PAUSES, Taken

SWEEP_SECONDS = 30.0
"""Between two looks at what waits for its message, and at what servers refused during runs."""
GATHER_SECONDS = 0.2
"""After a mail came, before it is settled: they come in crowds, and crowds are settled at once."""

Intake = Callable[[asyncio.Event, Taken], Awaitable[None]]
"""Takes in mails until the event is set; tells how many it stored."""
Tell = Callable[[str], None]


async def serve(
    desk: MailDesk,
    intakes: Sequence[Intake],
    stop: asyncio.Event,
    *,
    settled: Callable[[Done], None],
    tell: Tell,
) -> None:
    """Run intakes until ``stop`` is set; while the database is away mails wait where they are.

    Args:
        settled: told what was made of mails, each time.
        tell: says what goes wrong and is tried again.

    Raises:
        IgnitionError: an intake cannot go on; the others are stopped.
    """
    news = asyncio.Event()

    def taken(count: int) -> None:
        if count:
            news.set()

    jobs = [asyncio.ensure_future(_run(intake, stop, taken, tell)) for intake in intakes]
    jobs.append(asyncio.ensure_future(_sweep(desk, news, stop, settled, tell)))
    jobs.append(asyncio.ensure_future(_wake(news, stop)))
    try:
        await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        stop.set()
        await asyncio.wait(jobs)
    for job in jobs:
        job.result()


async def _run(intake: Intake, stop: asyncio.Event, taken: Taken, tell: Tell) -> None:
    setbacks = 0
    while not stop.is_set():
        try:
            await intake(stop, taken)
        except DatabaseError as error:
            pause = PAUSES[min(setbacks, len(PAUSES) - 1)]
            tell(f"{error.message} Tried again in {pause:g} s; mails wait where they are.")
            setbacks += 1
            await _wait(stop, pause)


async def _sweep(
    desk: MailDesk,
    news: asyncio.Event,
    stop: asyncio.Event,
    settled: Callable[[Done], None],
    tell: Tell,
) -> None:
    while True:
        last = stop.is_set()
        news.clear()
        try:
            settled(await desk.settle())
        except DatabaseError as error:
            tell(f"{error.message} What is stored is settled later.")
        if last:
            return
        await _wait(news, SWEEP_SECONDS)
        await _wait(stop, GATHER_SECONDS)


async def _wake(news: asyncio.Event, stop: asyncio.Event) -> None:
    await stop.wait()
    news.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
