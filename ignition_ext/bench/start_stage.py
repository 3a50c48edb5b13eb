"""A Prefect server on PostgreSQL with campaigns and schedules, for the benchmark of starts."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from ignition_ext.bench.child import started
from ignition_ext.bench.options import Say
from ignition_ext.devtools.demo_stack import SMSC_PASSWORD, SYSTEM_ID, RecordingServer
from ignition_ext.devtools.postgres import new_database, postgres_server
from ignition_ext.devtools.stack import PrefectServer, scrubbed_environment
from ignition_ext.errors import ConfigurationError, IgnitionError

POOL = "email"
CAMPAIGNS = 12
"""Runs of one campaign wait for each other, so those that are due side by side are of several."""
AT_ONCE = 8
"""Deployments that are made side by side."""
QUIET_HOURS = 2
"""No schedule of the crowd fires so soon: it is to be there, not to run."""
_CAMPAIGN = """\
name: {name}
tenant: bench
channel: email
audience: {{name: one}}
template: start
block: acme-mail
from: bench@sender.example
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStage:
    """All that flow runs need, but the worker.

    Attributes:
        server: the Prefect server.
        environment: of a worker, besides what names the server.
        database_url: where Ignition's tables are.
        client: of the server.
        first_line: the deployment for runs that are due at once.
        campaigns: the deployments for those that are due at a time.
        folder: for files.
    """

    server: PrefectServer
    environment: Mapping[str, str]
    database_url: str
    client: PrefectClient
    first_line: UUID
    campaigns: Sequence[UUID]
    folder: Path


@asynccontextmanager
async def open_start_stage(
    given: str | None, schedules: int, say: Say
) -> AsyncIterator[StartStage]:
    """Start what is needed; all of it is taken away at the end.

    Args:
        given: the URL of a PostgreSQL server where a database may be made; None starts one.
        schedules: deployments with a schedule that are there besides.
        say: tells a person how far it is.
    """
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="ignition-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        say("PostgreSQL and Prefect server …")
        url = stack.enter_context(_database(given))
        server = PrefectServer(
            folder, database_url=url.replace("postgresql://", "postgresql+asyncpg://", 1)
        )
        mail = RecordingServer("capture_smtp", folder)
        for part in (server, mail):
            await stack.enter_async_context(started(part))
        environment = {
            "IGNITION_DATABASE_URL": url,
            "PREFECT_LOGGING_LEVEL": "WARNING",
            # Only a version's first run has one; the worker measured first would pay for both.
            "IGNITION_PREFLIGHT": "never",
        }
        await asyncio.to_thread(_fill, folder, {**server.environment, **environment}, mail.port)
        settings = {PREFECT_API_URL: server.url, PREFECT_HOME: server.home}
        stack.enter_context(temporary_settings(settings))
        client = await stack.enter_async_context(get_client())
        flow_id = await client.create_flow_from_name("ignition-bench-first-line")
        say(f"{schedules} schedules …")
        await _crowd(client, flow_id, schedules)
        names = [f"campaign/bench.start-{number}" for number in range(CAMPAIGNS)]
        yield StartStage(
            server=server,
            environment=environment,
            database_url=url,
            client=client,
            first_line=await _deploy(client, flow_id, "first-line"),
            campaigns=[(await client.read_deployment_by_name(name)).id for name in names],
            folder=folder,
        )


@contextmanager
def _database(given: str | None) -> Iterator[str]:
    """The URL of a new database on the server given, or on one of our own."""
    if given is None:
        with postgres_server() as url:
            yield url
        return
    if not given.startswith("postgresql://"):
        raise ConfigurationError(
            "the benchmark of starts needs PostgreSQL.",
            mend="Give --database postgresql://USER:PASSWORD@HOST/DATABASE, or leave it out.",
        )
    with new_database(given) as url:
        yield url


def _fill(folder: Path, environment: Mapping[str, str], mail_port: int) -> None:
    """A tenant with one recipient, and campaigns, by the commands that anyone would type."""

    def run(*arguments: str | Path) -> None:
        program = Path(sys.executable).with_name(str(arguments[0]))
        done = subprocess.run(  # noqa: S603 - our own commands
            [str(program), *map(str, arguments[1:])],
            cwd=folder,
            env={**scrubbed_environment(), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise IgnitionError(f"`{' '.join(map(str, arguments))}` failed: {done.stderr}")

    template = folder / "templates" / "start"
    template.mkdir(parents=True)
    (template / "subject.txt").write_text("On time")
    (template / "body.txt").write_text("This was due at its time.\n")
    people = folder / "one.csv"
    people.write_text("email\none@recipient.example\n")
    files = [folder / f"start-{number}.yaml" for number in range(CAMPAIGNS)]
    for path in files:
        path.write_text(_CAMPAIGN.format(name=path.stem))
    run("ignition", "init")
    run("ignition", "tenant", "create", "bench")
    run("ignition", "template", "push", template, "--tenant", "bench", "--publish")
    run("ignition", "audience", "import", people, "--tenant", "bench", "--name", "one")
    blocks = ("-m", "ignition_ext.devtools.demo_blocks", str(mail_port), "1")
    run("python", *blocks, SYSTEM_ID, SMSC_PASSWORD)
    run("ignition", "campaign", "apply", *files)


async def _crowd(client: PrefectClient, flow_id: UUID, count: int) -> None:
    """Deployments with one daily schedule each, none of which fires soon."""
    room = asyncio.Semaphore(AT_ONCE)
    begin = datetime.now(UTC) + timedelta(hours=QUIET_HOURS)
    minutes = (24 - 2 * QUIET_HOURS) * 60

    async def add(number: int) -> None:
        at = begin + timedelta(minutes=number % minutes)
        cron = CronSchedule(cron=f"{at.minute} {at.hour} * * *", timezone="UTC")
        schedule = DeploymentScheduleCreate(schedule=cron, active=True)
        async with room:
            await _deploy(client, flow_id, f"crowd-{number}", schedule)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(add(number))


async def _deploy(
    client: PrefectClient, flow_id: UUID, name: str, *schedules: DeploymentScheduleCreate
) -> UUID:
    """A deployment that runs the installed package, as campaigns do."""
    return await client.create_deployment(
        flow_id=flow_id,
        name=name,
        work_pool_name=POOL,
        entrypoint="ignition_ext.bench.start_flows.first_line",
        pull_steps=[],
        schedules=list(schedules),
    )
