"""Lets a weekend of a clock change pass on a real Prefect server, and compares what came due.

    python benchmarks/weekend.py [--json]

The server and `ignition campaign apply` run under Debian's ``faketime`` with a clock that is moved
on in steps. After each step the work pool is asked as a worker asks it, each run that is due is
carried through its states, and noted. In the end those must be the previews' times, each once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Completed, Pending, Running
from schedules import MIXED, apply, prepare, write_files

from ignition_ext.campaigns.store import list_campaigns
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer, scrubbed_environment
from ignition_ext.orchestration.client import prefect_client

BEGIN = datetime(2027, 3, 26, 18, tzinfo=UTC)
"""A Friday evening; Berlin's clocks go forward on Sunday, Lord Howe's back a week later."""
HOURS = 60
STEP = timedelta(minutes=30)
"""Less than the hour that Prefect makes runs ahead, so that its scheduler keeps up."""
ROUNDS = 5
"""Seconds that a step waits: processes read the clock each second, the scheduler turns twice."""
EVERY_MINUTES = '{{cron: "*/{step} * * * *", timezone: Europe/Berlin}}'
Fired = Counter[tuple[str, datetime]]


class MovedClock:
    """What ``libfaketime`` reads: how far the clock of the processes is ahead of this machine's."""

    def __init__(self, folder: Path, begin: datetime) -> None:
        self.file = folder / "clock"
        self.ahead = begin - datetime.now(UTC)
        self._write()

    def _write(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(f"+{self.ahead.total_seconds():.0f}\n")
        new.replace(self.file)

    def now(self) -> datetime:
        """The time that the processes see."""
        return datetime.now(UTC) + self.ahead

    def move_to(self, at: datetime) -> None:
        """Put it forward."""
        self.ahead = at - datetime.now(UTC)
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that shall see it."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


async def take_due(client: PrefectClient, clock: MovedClock, names: dict[object, str]) -> Fired:
    """What a worker would start now; carried through its states."""
    fired: Fired = Counter()
    found = await client.get_scheduled_flow_runs_for_work_pool(
        work_pool_name="email", scheduled_before=clock.now()
    )
    for one in found:
        run = one.flow_run
        assert run.expected_start_time is not None
        at = datetime.fromisoformat(run.expected_start_time.isoformat())
        fired[names[run.deployment_id], at] += 1
        for state in (Pending(), Running(), Completed()):
            # The state's own time is this machine's; the server's rules do not ask for it.
            await client.set_flow_run_state(run.id, state, force=True)
    return fired


async def pass_weekend(clock: MovedClock, end: datetime, names: dict[object, str]) -> Fired:
    """Move the clock on until the end."""
    fired: Fired = Counter()
    async with prefect_client() as client:
        at = clock.now()
        while at < end:
            at = min(at + STEP, end)
            clock.move_to(at)
            for _ in range(ROUNDS):
                await asyncio.sleep(1)
                while some := await take_due(client, clock, names):
                    fired += some
    return fired


async def read_names(database: Database) -> dict[object, str]:
    """Campaigns by the id of their deployment."""
    async with database.read() as session:
        found = await list_campaigns(session)
    return {one.campaign.prefect_deployment_id: one.reference for one in found}


async def expected(database: Database, begin: datetime, end: datetime) -> Fired:
    """The previews' times."""
    due: Fired = Counter()
    async with database.read() as session:
        found = list(await list_campaigns(session))
    for one in found:
        zone = ZoneInfo(one.tenant.timezone)
        for spec in one.definition.schedules:
            for at in spec.read(now=one.campaign.updated_at).occurrences(begin, zone):
                if at > end:
                    break
                due[one.reference, at] += 1
    return due


def measure(folder: Path, begin: datetime, end: datetime) -> dict[str, object]:
    """Everything, in that folder."""
    clock = MovedClock(folder, begin)
    database = Database(f"sqlite:///{folder}/ignition.db")
    files = write_files(folder, len(MIXED))
    for minutes in (5, 15, 59):
        path = folder / f"campaign-{len(files):04}.yaml"
        schedule = EVERY_MINUTES.format(step=minutes)
        text = files[0].read_text().splitlines()
        text[0], text[-1] = f"name: campaign-{len(files)}", f"  - {schedule}"
        path.write_text("\n".join(text).replace("{{", "{").replace("}}", "}"))
        files.append(path)
    settings = clock.environment | {
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    }
    with PrefectServer(folder / "server", settings=settings) as server:
        environment = scrubbed_environment() | server.environment | clock.environment
        environment["IGNITION_DATABASE_URL"] = f"sqlite:///{folder}/ignition.db"
        os.environ.update(server.environment)
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}):
            asyncio.run(prepare(database, folder))
            apply(environment, files)
            names = asyncio.run(read_names(database))
            applied = clock.now()
            begun = time.monotonic()
            fired = asyncio.run(pass_weekend(clock, end, names))
            due = asyncio.run(expected(database, applied, end))
    return {
        "campaigns": len(files),
        "from": applied.isoformat(timespec="seconds"),
        "until": end.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begun, 1),
        "due": due.total(),
        "fired": fired.total(),
        "twice": sum(1 for count in fired.values() if count > 1),
        "missing": [f"{name} {at}" for name, at in sorted((due - fired).keys())],
        "wrong": [f"{name} {at}" for name, at in sorted((fired - due).keys())],
    }


def main() -> int:
    """Measure and print; 1 where something did not come due as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="begin", type=datetime.fromisoformat, default=BEGIN)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    end = given.begin + timedelta(hours=given.hours)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given.begin, end)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        print(", ".join(f"{name}: {value}" for name, value in result.items()))
    return int(bool(result["missing"] or result["wrong"] or result["twice"]))


if __name__ == "__main__":
    sys.exit(main())
