"""What one run of a campaign leaves in Prefect's database: task runs, events, rows of each table.

``python benchmarks/prefect_rows.py [--messages N] [--json]``, from the root of a clone

Starts a Prefect server and workers of its own on loopback, as ``ignition demo`` does, applies the
sample newsletter to a generated audience, and runs it against ``smtp-sink`` or a sink of our own.
Counted are the task runs of the flow run, the events that name it, and by how much each table of
the server's SQLite file grew meanwhile (its own services write a few rows of their own).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from ignition_ext.bench.options import BenchOptions
from ignition_ext.bench.sinks import open_sink
from ignition_ext.cli.demo import prepare
from ignition_ext.devtools.demo_stack import SMSC_PASSWORD, SYSTEM_ID, DemoStack
from ignition_ext.values import Channel

CAMPAIGN = "acme/newsletter"
MOST_TASK_RUNS, MOST_EVENTS = 60, 600
"""What a run of 100,000 may leave."""
SETTLED_SECONDS = 5.0
"""Prefect writes events behind the run; so long without a new one means that all are there."""
_open = build_opener(ProxyHandler({})).open


def ask(api: str, path: str, body: object) -> Any:
    """One question to Prefect's API."""
    request = Request(
        f"{api}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with _open(request, timeout=60) as response:
        return json.load(response)


def rows(database: Path) -> dict[str, int]:
    """The number of rows of each table of Prefect's."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for name in names
        }


def settled_events(api: str, flow_run: str) -> int:
    """Events that name the flow run, when no more come."""
    body = {"filter": {"any_resource": {"id": [f"prefect.flow-run.{flow_run}"]}}, "limit": 1}
    count, since = -1, time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        now = int(ask(api, "events/filter", body)["total"])
        if now != count:
            count, since = now, time.monotonic()
        time.sleep(0.5)
    return count


def measure(stack: DemoStack, api: str, database: Path) -> dict[str, Any]:
    """Run the campaign once and count."""
    before = rows(database)
    status = json.loads(
        stack.run("ignition", "campaign", "run", CAMPAIGN, "--wait", "--json", capture=True)
    )
    flow_run = status["flow_run_id"]
    events = settled_events(api, flow_run)
    of_run = {"flow_runs": {"id": {"any_": [flow_run]}}}
    after = rows(database)
    return {
        "messages": status["counts"]["total"],
        "sent": status["counts"]["sent"],
        "rate": status["rate"],
        "task_runs": ask(api, "task_runs/count", of_run),
        "events": events,
        "rows": {
            name: count - before.get(name, 0)
            for name, count in sorted(after.items())
            if count != before.get(name, 0)
        },
    }


async def run(messages: int) -> dict[str, Any]:
    """The whole stack, for one run."""
    options = BenchOptions(channel=Channel.EMAIL, messages=messages)
    with tempfile.TemporaryDirectory(prefix="ignition-rows-") as folder:
        async with open_sink(options) as sink:
            return await asyncio.to_thread(_in_stack, Path(folder), messages, sink.address.port)


def _in_stack(folder: Path, messages: int, port: int) -> dict[str, Any]:
    with DemoStack(folder) as stack:
        prepare(stack, messages)
        words = (str(port), str(stack.smsc.port), SYSTEM_ID, SMSC_PASSWORD)
        stack.run("python", "-m", "ignition_ext.devtools.demo_blocks", *words)
        api = stack.environment["PREFECT_API_URL"]
        return measure(stack, api, folder / "prefect" / "prefect.db")


def main() -> int:
    """Count, and say whether it is within the bounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "IGNITION_")):
            del os.environ[name]
    report = asyncio.run(run(arguments.messages))
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        for key, value in report.items():
            print(f"{key:10} {value}")
    kept = report["task_runs"] <= MOST_TASK_RUNS and report["events"] <= MOST_EVENTS
    return 0 if kept and report["sent"] == report["messages"] else 1


if __name__ == "__main__":
    sys.exit(main())
