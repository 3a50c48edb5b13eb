"""A sender of its own process: drains one run, as the flow does, until it is over.

``python sender.py SPEC.json`` sends with the project's own parts what the flow ``campaign`` sends
with them; only Prefect is left out. It prints one JSON document at its end. Exit codes: 0 the run
is over, 1 the server refused us as a whole, 2 the database cannot be used, 3 stopped by SIGTERM.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import signal
import sqlite3
import ssl
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from ignition_ext.channels.smpp import SmppOptions, SmppTransport
from ignition_ext.channels.smtp import SmtpOptions, SmtpTransport
from ignition_ext.database import Database
from ignition_ext.delivery.batch import BatchLimits, BatchResult, Sender, deliver_batch
from ignition_ext.delivery.patience import patiently, time_left
from ignition_ext.delivery.press import Press
from ignition_ext.delivery.tally import Tally
from ignition_ext.delivery.thread import run_apart
from ignition_ext.delivery.workshop import EmailWorkshop, SmsWorkshop
from ignition_ext.errors import ChannelError, DatabaseError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Ledger
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.returns.sms_receipts import receipts_into
from ignition_ext.schema import database_errors
from ignition_ext.templates.email_maker import EmailRecipe
from ignition_ext.templates.rendering.renderer import Renderer
from ignition_ext.templates.rendering.sources import TemplateSources
from ignition_ext.values import RunId, RunRef, TenantId

OVER, REFUSED, NO_DATABASE, STOPPED = 0, 1, 2, 3
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG in linux/prctl.h


class Program:
    """What the specification asks for."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.run = RunRef(
            id=RunId(UUID(spec["run_id"])),
            run_at=datetime.fromisoformat(spec["run_at"]),
            tenant_id=TenantId(spec["tenant_id"]),
        )
        self.limits = BatchLimits(
            messages=spec["batch"],
            lease=timedelta(seconds=spec["lease"]),
            look_every=timedelta(seconds=0.2),
            portion=spec["portion"],
        )
        self.tally = Tally()
        self.press = Press(worth_from=100)

    def sender(self, ledger: Ledger) -> Sender[Any]:
        wait = timedelta(seconds=self.spec["retry"])
        retry = StandardRetry(strategy="fixed", attempts=5, base=wait, max=wait)
        sources = TemplateSources(name="t", version=1, files=self.spec["template"])
        if self.spec["channel"] == "email":
            return self._email(sources, retry)
        options = SmppOptions(**self.spec["server"])

        def connect(last: bool) -> SmppTransport:
            return SmppTransport(options, receipts_into(ledger), 0.2 if last else 0)

        renderer = Renderer(sources, locale="en", timezone="UTC", globals={})
        workshop = SmsWorkshop(renderer, "Acme")
        return Sender(workshop=workshop, connect=connect, retry=retry, bind=options.bind_name)

    def _email(self, sources: TemplateSources, retry: StandardRetry) -> Sender[Any]:
        values = dict(self.spec["server"])
        if authority := values.pop("authority", None):
            values["tls_context"] = ssl.create_default_context(cafile=authority)
        options = SmtpOptions(**values)
        recipe = EmailRecipe(
            sources=sources,
            locale="en",
            timezone="UTC",
            globals={},
            sender="Acme <news@acme.example>",
            headers={},
            attachments=[],
            inline=[],
            envelope_from=None,
        )
        workshop = EmailWorkshop(recipe.maker())
        return Sender(
            workshop=workshop,
            feed=partial(self.press.feed, recipe, workshop),
            connect=lambda last: SmtpTransport(options),
            retry=retry,
        )

    async def batch(self, stop: asyncio.Event) -> BatchResult:
        database = Database(self.spec["database"])
        try:
            with database_errors(database):
                ledger = open_ledger(database)
                sender = self.sender(ledger)
                result = await deliver_batch(
                    ledger, self.run, sender, self.limits, stop=stop, tally=self.tally
                )
                left = await time_left(database, result)
        finally:
            await database.close()
        if not result.over and result.error is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), left.total_seconds())
        return result

    async def drain(self, stop: asyncio.Event) -> BatchResult:
        """Send until the run is over, until ``stop``, or until the flow would fail."""
        while True:
            result = await patiently(
                lambda: self.batch(stop), stop, patience=timedelta(seconds=self.spec["patience"])
            )
            if result.error is not None and not (result.error.temporary and result.got_on):
                raise result.error
            if result.over or stop.is_set():
                return result


async def main(spec: dict[str, Any]) -> int:
    program = Program(spec)
    task = asyncio.ensure_future(run_apart(program.drain))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print("ready", flush=True)
    try:
        with program.press:
            result = await task
    except asyncio.CancelledError:
        return _say(STOPPED)
    except ChannelError as error:
        return _say(REFUSED, error=f"{type(error).__name__}: {error}")
    except DatabaseError as error:
        return _say(NO_DATABASE, error=str(error))
    return _say(OVER, counts={state.value: count for state, count in result.counts.items()})


def end_the_disk(pages: int) -> None:
    """Let SQLite find no room beyond so many pages: it reports that as it reports a full disk."""
    connect = sqlite3.connect

    def bounded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA max_page_count={pages}").close()
        return connection

    sqlite3.connect = bounded


def _say(code: int, **facts: Any) -> int:
    print(json.dumps({"code": code, **facts}), flush=True)
    return code


def die_with_parent() -> None:
    """No test leaves a sender behind, however the test ends."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    spec = json.loads(Path(sys.argv[1]).read_text())
    if spec["max_pages"]:
        end_the_disk(spec["max_pages"])
    sys.exit(asyncio.run(main(spec)))
