"""Puts an audience into a run, one batch a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace

from ignition_ext.ledger import held
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.work import Prepared, Work
from ignition_ext.values import RunRef, RunState


async def is_whole(work: Work, run: RunRef) -> bool:
    """Whether the run's snapshot is finished."""
    return (await work.run("read_run", run)).has_snapshot


async def count(work: Work, run: RunRef) -> int:
    """The run's messages."""
    ((number,),) = await work.fetch("count_run", run_id=run.id, run_at=run.run_at)
    return int(number)


async def add(work: Work, run: RunRef, batch: Prepared, is_held: bool) -> tuple[int, bool]:
    """Add a batch under the run's lock; returns how many, and whether more may follow.

    Args:
        is_held: the run goes out in steps, which let its messages go later.
    """
    row = await work.run("lock_run", run)
    if row.has_snapshot or row.state not in (RunState.OPEN, RunState.PAUSED):
        return 0, False
    room = None
    if row.max_messages is not None:
        room = max(row.max_messages - await count(work, run), 0)
    added = await work.add_messages(run, batch, room) if batch.count and room != 0 else 0
    if added and is_held:
        await held.hold(work, run)
    return added, room is None or added < room


async def prepare_ahead(
    batches: AsyncIterator[Sequence[NewMessage]],
    prepare: Callable[[Sequence[NewMessage]], Prepared],
) -> AsyncGenerator[Prepared, None]:
    """The same batches, each read and prepared while the database works on the one before.

    Not sooner: this thread would make the next ones while the database waits for a short word.
    """
    queue: asyncio.Queue[Prepared | None] = asyncio.Queue(maxsize=1)
    loop, may_go_on = asyncio.get_running_loop(), asyncio.Event()
    may_go_on.set()
    is_sent = False

    def sent() -> None:
        nonlocal is_sent
        is_sent = True
        loop.call_soon_threadsafe(may_go_on.set)

    async def read() -> None:
        try:
            async for batch in batches:
                await may_go_on.wait()
                may_go_on.clear()
                await queue.put(replace(prepare(batch), sent=sent))
        except Exception:
            await queue.put(None)
            raise
        await queue.put(None)

    reading = asyncio.create_task(read(), name="ledger-snapshot")
    try:
        while (prepared := await queue.get()) is not None:
            is_sent = False
            yield prepared
            if not is_sent:  # it was not wanted, or by who says nothing
                may_go_on.set()
        await reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        if not reading.cancelled():
            reading.exception()  # told above, or of no interest any more
