"""Prefect's own processes killed under a run, and its server gone; counted by smtp-sink."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Scheduled

from blocks import SmtpServer
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer, PrefectWorker
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration.apply import carry_out, plan
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.setup import prepare_server
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("faults-prefect"),
    # Prefect's client leaves sockets to the garbage collector: that is no leak of ours.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

PER_SECOND = 30
CONNECTIONS = 2
VICTIMS, DATABASES = [("worker", "sqlite"), ("parent", "postgresql")], ["sqlite"]
if os.environ.get("CHAOS"):
    VICTIMS, DATABASES = [*VICTIMS, ("all", "postgresql")], [*DATABASES, "postgresql"]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server of this module's own, which may be taken away."""
    with PrefectServer(tmp_path_factory.mktemp("prefect")) as running:

        async def prepare() -> None:
            async with prefect_client() as client:
                await prepare_server(client)

        with temporary_settings({PREFECT_API_URL: running.url, PREFECT_HOME: running.home}):
            asyncio.run(prepare())
        yield running
    gc.collect()


@dataclass
class Campaign:
    """One campaign with its worker, and where its mails arrive."""

    client: Any
    database: Database
    server: PrefectServer
    worker: PrefectWorker
    far: Any
    deployment_id: UUID
    reference: str
    people: list[str]
    environment: dict[str, str]

    async def start(self) -> UUID:
        run = await self.client.create_flow_run_from_deployment(
            self.deployment_id,
            parameters={"parameters": {"campaign": self.reference}},
            job_variables={"env": self.environment},
        )
        return UUID(str(run.id))

    async def sent(self, wanted: int) -> None:
        """Wait until so many have arrived."""
        await until(lambda: asyncio.to_thread(lambda: self.far.count() >= wanted))

    async def ended(self, flow_run_id: UUID, runs: int = 1) -> FlowRun:
        """The flow run, once an attempt is over."""

        async def look() -> FlowRun | None:
            run: FlowRun = await self.client.read_flow_run(flow_run_id)
            over = run.state is not None and run.state.type.value in ENDED
            return run if over and run.run_count >= runs else None

        found: FlowRun = await until(look)
        return found

    async def check(self, flow_run_id: UUID, uncertain: int) -> None:
        """What at-most-once promises, against the far side."""
        async with self.database.read() as session:
            run = await find_run(session, str(flow_run_id))
        states = {
            row["address"]: str(row["state"])
            async for page in open_ledger(self.database).messages(run.id)
            for row in page
        }
        taken = self.far.taken()
        assert set(states) == set(self.people)
        assert set(states.values()) <= {"sent", "uncertain"}
        sent = {address for address, state in states.items() if state == "sent"}
        assert max(taken.values()) == 1
        assert sent <= set(taken)
        assert len(states) - len(sent) <= uncertain


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 240) -> Any:
    """The first answer that is not empty; a server that is away has none."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.1)


@pytest.fixture
async def campaign(
    server: PrefectServer,
    database_url: str,
    counter: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chaos: bool,
) -> AsyncIterator[Campaign]:
    """A campaign that takes some seconds, and the worker that runs it."""
    tenant, total = f"acme-{uuid4().hex[:8]}", 1_500 if chaos else 150
    environment = {
        "IGNITION_DATABASE_URL": database_url,
        "IGNITION_LEASE_SECONDS": "4",
        "IGNITION_DRAIN_SECONDS": "5",
    }
    for name, value in (environment | server.environment).items():
        monkeypatch.setenv(name, value)
    far = counter("email")
    people = [f"p{number}@example.com" for number in range(total)]
    (tmp_path / "people.csv").write_text("\n".join(["email", *people, ""]))
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News")
    (template / "body.txt").write_text("Hello")
    file = tmp_path / "news.yaml"
    file.write_text(
        f"name: news\ntenant: {tenant}\nchannel: email\naudience: {{csv: people.csv}}\n"
        f"template: news\nblock: {tenant}-mail\nfrom: news@acme.example\n"
        f"delivery: {{batch: 100}}\nthrottle: {{per_second: {PER_SECOND}}}\n"
    )
    database = Database(database_url)
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}):
        await create_tenant(database, name=tenant, actor="test")
        await push(database, tenant=tenant, folder=template, actor="test", publish=True)
        async with prefect_client() as client:
            block = SmtpServer(
                host="127.0.0.1", port=far.port, security="none", connections=CONNECTIONS
            )
            await block.asave(f"{tenant}-mail", client=client)
            planned = await plan(database, client, file, environment="dev")
            assert planned is not None
            done = await carry_out(database, client, planned, actor="test")
            worker = PrefectWorker(server, "email")
            await asyncio.to_thread(worker.start)
            made = Campaign(
                client,
                database,
                server,
                worker,
                far,
                done.deployment_id,
                f"{tenant}/news",
                people,
                environment,
            )
            yield made
            await asyncio.to_thread(made.worker.stop)
    await database.close()


def processes_of(flow_run_id: UUID) -> list[int]:
    """What runs for this flow run, parents first: its supervisor, and the engine."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            known = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            if folder.name.isdigit() and str(flow_run_id).encode() in known:
                found.append(int(folder.name))
    return sorted(found)


@pytest.mark.parametrize(("victim", "database_url"), VICTIMS, indirect=["database_url"])
async def test_a_killed_process_of_prefect_costs_at_most_a_retry(
    victim: str, campaign: Campaign
) -> None:
    """The worker, the flow run's parent process or the whole node: nobody gets two copies."""
    flow_run_id = await campaign.start()
    await campaign.sent(30)
    processes = processes_of(flow_run_id)
    match victim:
        case "worker":
            os.kill(campaign.worker.pid, signal.SIGKILL)
        case "parent":
            os.kill(processes[0], signal.SIGKILL)
        case "all":
            for process in (campaign.worker.pid, *processes):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
    before = campaign.far.count()

    async def quiet() -> bool:
        return not await asyncio.to_thread(processes_of, flow_run_id)

    await until(quiet)  # what is left of it ends by itself
    run = await campaign.client.read_flow_run(flow_run_id)
    if run.state_name != "Completed":
        await asyncio.to_thread(campaign.worker.kill)
        campaign.worker = PrefectWorker(campaign.server, "email")
        await asyncio.to_thread(campaign.worker.start)
        await campaign.client.set_flow_run_state(flow_run_id, Scheduled(), force=True)
        run = await campaign.ended(flow_run_id, runs=run.run_count + 1)

    assert before < len(campaign.people), "it was killed too late to show anything"
    assert run.state_name == "Completed"
    await campaign.check(flow_run_id, uncertain=2 * CONNECTIONS)


@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
async def test_the_prefect_server_gone_in_mid_run(campaign: Campaign, chaos: bool) -> None:
    """Sending goes on without it; when it is back, the run ends as Completed."""
    flow_run_id = await campaign.start()
    await campaign.sent(30)
    gone, before = time.monotonic(), campaign.far.count()
    await asyncio.to_thread(campaign.server.kill)
    try:
        seconds = 30 if chaos else 4

        async def long_enough() -> bool:
            return time.monotonic() - gone >= seconds

        await until(long_enough)
        during = campaign.far.count()
    finally:
        await asyncio.to_thread(campaign.server.start)
    run = await campaign.ended(flow_run_id)

    assert during > before, "nothing was sent while the server was away"
    assert (run.state_name, run.run_count) == ("Completed", 1)
    await campaign.check(flow_run_id, uncertain=0)
