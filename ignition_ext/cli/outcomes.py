"""``ignition outcomes``: tells Prefect and webhooks what happened, for as long as it runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL

from ignition_ext.cli.context import open_database
from ignition_ext.cli.output import note, print_json
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.outcomes import listen, relay_once
from ignition_ext.settings import Settings

app = App(name="outcomes", help="Outcomes: what Prefect and webhooks are told.")

ONCE_SECONDS = 3600.0
"""After which one pass begins nothing more."""


@app.command
async def relay(
    *,
    every: Annotated[float, Parameter(validator=Number(gte=0.1, lte=3600))] = 1.0,
    once: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Tell Prefect and webhooks what happened, until SIGTERM or Ctrl-C.

    The flow `outcomes` does the same each minute; this is for those who want it within seconds.
    Both may run, on any number of nodes. Without PREFECT_API_URL only webhooks are told.

    Args:
        every: Seconds between two looks.
        once: Tell what there is, and end; exit 1 if a part failed.
        json: With --once print one JSON document.
    """
    settings = Settings()
    async with AsyncExitStack() as opened:
        database = await opened.enter_async_context(open_database(settings))
        client: PrefectClient | None = None
        if PREFECT_API_URL.value():
            client = await opened.enter_async_context(prefect_client())
        else:
            note("PREFECT_API_URL is not set: only webhooks are told.")
        if not once:
            await _until_stopped(listen(database, settings, client, every=every, note=note))
            return 0
        done = await relay_once(database, settings, client, seconds=ONCE_SECONDS)
    if json:
        print_json(done)
    else:
        note(f"{done}.")
        for name, words in done.errors.items():
            note(f"{name}: {words}")
    return 1 if done.errors else 0


async def _until_stopped(listening: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(listening)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    note("Telling outcomes; Ctrl-C ends it.")
    with suppress(asyncio.CancelledError):
        await task
