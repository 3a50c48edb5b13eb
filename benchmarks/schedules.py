"""Applies many campaigns with mixed schedules by one command, and says how long it took.

    python benchmarks/schedules.py --campaigns 1000 --json

Starts a Prefect server on SQLite in a folder of its own, writes the campaign files, applies them
twice (the second time nothing changes), and compares what Prefect has scheduled with the previews.
With ``--ahead`` the server makes runs for its whole horizon of 100 days, up to 100 a schedule; the
output then says what that costs it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from blocks import SmtpServer
from ignition_ext.campaigns.schedule import schedule_slug
from ignition_ext.campaigns.store import StoredCampaign, list_campaigns
from ignition_ext.database import Database
from ignition_ext.devtools.stack import FAR_AHEAD, PrefectServer, scrubbed_environment
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.setup import prepare_server
from ignition_ext.schema import upgrade
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant

TENANT = "acme"
MIXED = (
    '{{cron: "{minute} {hour} * * MON-FRI", timezone: Europe/Berlin}}',
    '{{quartz: "0 {minute} {hour} ? * 6#3", timezone: America/New_York}}',
    '{{quartz: "0/30 {minute} * * * ?", timezone: Europe/Berlin}}',
    '{{quartz: "0 {minute} 2 * * ?", timezone: Australia/Lord_Howe}}',
    '{{business_day: last, at: "09:{minute:02}", calendar: DE-BY}}',
    '{{every: month, on: [15, last], at: "09:{minute:02}", calendar: US, roll: forward}}',
    '{{every: week, on: [MON, THU], at: "{hour:02}:{minute:02}", timezone: America/Sao_Paulo}}',
    '{{rrule: "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR={hour};BYMINUTE={minute}"}}',
    "{{interval: {hour}h}}",
    '{{once: "2027-03-28T{hour:02}:{minute:02}", timezone: Europe/Berlin}}',
)
FILE = """name: campaign-{number}
tenant: acme
channel: email
audience: {{csv: people.csv}}
template: hello
block: acme-mail
from: news@acme.example
schedules:
  - {schedule}
"""
LOOKED_AT = 50
"""Campaigns whose runs in Prefect are compared with the preview."""
HORIZON = timedelta(days=100)
HORIZON_RUNS = 100
MARGIN = timedelta(hours=2)
"""What Prefect has made may be that old, and reach that much less far."""
QUIET_SECONDS = 600
"""Ten turns of the scheduler, or one, where it looks far ahead."""


def write_files(folder: Path, count: int) -> list[Path]:
    """Campaign files with each kind of schedule in turn."""
    (folder / "people.csv").write_text("email,name\nada@example.com,Ada\n")
    (folder / "hello").mkdir()
    (folder / "hello" / "subject.txt").write_text("Hello {{ name }}")
    (folder / "hello" / "body.txt").write_text("Hello {{ name }}")
    files = []
    for number in range(count):
        written = MIXED[number % len(MIXED)].format(minute=number % 60, hour=number % 22 + 1)
        path = folder / f"campaign-{number:04}.yaml"
        path.write_text(FILE.format(number=number, schedule=written))
        files.append(path)
    return files


def apply(environment: dict[str, str], files: list[Path]) -> float:
    """Seconds that the command took."""
    command = [str(Path(sys.executable).with_name("ignition")), "campaign", "apply", "--json"]
    begin = time.monotonic()
    subprocess.run(
        [*command, *map(str, files)], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - begin


async def prepare(database: Database, folder: Path) -> None:
    """The tenant, the template, the block and the pools."""
    await upgrade(database)
    await create_tenant(database, name=TENANT, actor="bench")
    await push(database, tenant=TENANT, folder=folder / "hello", actor="bench", publish=True)
    async with prefect_client() as client:
        await prepare_server(client)
        await SmtpServer(host="127.0.0.1", port=25, security="none").asave(
            "acme-mail", client=client, overwrite=True
        )


async def compare(database: Database, *, ahead: bool) -> dict[str, int]:
    """Runs that Prefect has made, and how many of them the preview does not have.

    ``short`` are schedules of which it has made less than it looks ahead.
    """
    async with database.read() as session:
        campaigns = list(await list_campaigns(session))
    found = {"runs": 0, "wrong": 0, "missing": 0, "short": 0}
    async with prefect_client() as client:
        for campaign in campaigns if ahead else campaigns[:LOOKED_AT]:
            times = await scheduled(client, campaign)
            for slug, expected in previewed(campaign, times).items():
                found["runs"] += len(times[slug])
                found["wrong"] += len(times[slug] - expected)
                found["missing"] += len(expected - times[slug])
            found["short"] += short(campaign, times) if ahead else 0
    return found


def short(campaign: StoredCampaign, times: defaultdict[str, set[datetime]]) -> int:
    """Schedules that should have more runs within the horizon than Prefect has made."""
    now = datetime.now(UTC)
    found = 0
    for number, spec in enumerate(campaign.definition.schedules, start=1):
        made = times[schedule_slug(number, spec)]
        dates = spec.read(now=campaign.campaign.updated_at).occurrences(
            now + MARGIN, ZoneInfo(campaign.tenant.timezone)
        )
        due = takewhile(lambda at: at < now + HORIZON - MARGIN, dates)
        wanted = set(islice(due, HORIZON_RUNS))
        found += len(made) < HORIZON_RUNS and bool(wanted - made)
    return found


async def scheduled(
    client: PrefectClient, campaign: StoredCampaign
) -> defaultdict[str, set[datetime]]:
    """The times of the runs that Prefect has, by schedule."""
    times: defaultdict[str, set[datetime]] = defaultdict(set)
    chosen = DeploymentFilterId(any_=[campaign.campaign.prefect_deployment_id])
    for run in await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=chosen), limit=200
    ):
        if run.expected_start_time is not None and run.created_by is not None:
            at = datetime.fromisoformat(run.expected_start_time.isoformat())  # not pendulum's
            times[run.created_by.display_value or ""].add(at)
    return times


def previewed(
    campaign: StoredCampaign, times: defaultdict[str, set[datetime]]
) -> dict[str, set[datetime]]:
    """As many of the preview's times, from the first that Prefect has."""
    found = {}
    for number, spec in enumerate(campaign.definition.schedules, start=1):
        slug = schedule_slug(number, spec)
        written = spec.read(now=campaign.campaign.updated_at)
        if times[slug]:
            first = min(times[slug]) - timedelta(microseconds=1)
            dates = written.occurrences(first, ZoneInfo(campaign.tenant.timezone))
            found[slug] = set(islice(dates, len(times[slug])))
    return found


def cpu_seconds(process: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, count: int, *, ahead: bool) -> dict[str, Any]:
    """Everything, in that folder."""
    database = Database(f"sqlite:///{folder}/ignition.db")
    files = write_files(folder, count)
    settings = FAR_AHEAD if ahead else {}
    with PrefectServer(folder / "server", settings=settings) as server:
        environment = scrubbed_environment() | server.environment
        environment["IGNITION_DATABASE_URL"] = f"sqlite:///{folder}/ignition.db"
        os.environ.update(server.environment)
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}):
            asyncio.run(prepare(database, folder))
            first = apply(environment, files)
            print(f"{count} campaigns applied in {first:.1f} s", file=sys.stderr)
            again = apply(environment, files)
            print(f"again in {again:.1f} s", file=sys.stderr)
            time.sleep(60)  # the scheduler's own turn
            used = cpu_seconds(server.pid)
            if ahead:
                time.sleep(QUIET_SECONDS)
            used = cpu_seconds(server.pid) - used
            compared = asyncio.run(compare(database, ahead=ahead))
    return {
        "campaigns": count,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(first, 1),
        "again_seconds": round(again, 1),
        "compared": compared,
        **({"server_cpu": round(used / QUIET_SECONDS, 3)} if ahead else {}),
    }


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument("--ahead", action="store_true", help="make runs for 100 days")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given.campaigns, ahead=given.ahead)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{given.campaigns} campaigns in {result['seconds']} s,"
            f" again in {result['again_seconds']} s; {result['compared']}"
        )


if __name__ == "__main__":
    main()
