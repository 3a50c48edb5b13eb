"""Two nodes on one run: a sender that comes later, and a node that is lost.

The long form, in network namespaces and with 50,000 messages, is ``make nodes``. With
``WORKER_SOAK`` set, the flow run of the lost node is found by its silence as it is in life, two
minutes later; usually ``reconcile`` is told that so much time has passed.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import AwaitingRetry

from blocks import SmtpServer
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer, PrefectWorker, WarmWorker
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.run_rows import run_ref
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration.apply import carry_out, plan
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.heartbeats import server_time
from ignition_ext.orchestration.pools import SENDERS
from ignition_ext.orchestration.revival import Reviver
from ignition_ext.orchestration.senders import run_tag
from ignition_ext.templates.store import push
from ignition_ext.tenants import PER_SECOND, create_tenant, set_tenant_setting

pytestmark = pytest.mark.timeout(600)

PEOPLE = 3_000
SLOWLY, FAST = 30, 2000
"""Messages a second until the second node is lost, however long it takes to come, and after."""
CONNECTIONS = 2
HEARTBEAT_SECONDS = 30
"""The least that Prefect takes."""
LATER = timedelta(0) if os.environ.get("WORKER_SOAK") else timedelta(minutes=3)
"""How much later than it is the lost run is looked for."""


@dataclass
class Site:
    """A campaign with two senders, and where its mails arrive."""

    client: PrefectClient
    server: PrefectServer
    database: Database
    smtp: CaptureSmtpServer
    environment: dict[str, str]
    deployment_id: UUID
    campaign: str
    nodes: AsyncExitStack
    folder: Path

    async def node(self, name: str, kind: type[PrefectWorker] = PrefectWorker) -> PrefectWorker:
        """A worker for one flow run at a time, with a home of its own."""
        home = {"PREFECT_HOME": str(self.folder / name)}
        worker = kind(self.server, "email", environment=self.environment | home, limit=1)
        await asyncio.to_thread(worker.start)
        self.nodes.push_async_callback(asyncio.to_thread, worker.stop)
        return worker

    async def start(self) -> UUID:
        run = await self.client.create_flow_run_from_deployment(
            self.deployment_id,
            parameters={"parameters": {"campaign": self.campaign}},
            job_variables={"env": self.environment},
        )
        return run.id

    async def arrived(self, wanted: int) -> None:
        async def look() -> bool:
            return self.smtp.received >= wanted

        await until(look)

    async def state(self, flow_run_id: UUID, *names: str) -> FlowRun:
        async def look() -> FlowRun | None:
            run = await self.client.read_flow_run(flow_run_id)
            return run if run.state_name in names else None

        found: FlowRun = await until(look)
        return found

    async def sender(self, flow_run_id: UUID) -> FlowRun:
        """The run's second sender, as Prefect has it."""

        async def look() -> FlowRun | None:
            async with self.database.read() as session:
                row = await find_run(session, str(flow_run_id))
            tags = FlowRunFilterTags(all_=[run_tag(row.id)])
            found = await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))
            return found[0] if found else None

        await self.state(flow_run_id, "Running")
        await self.arrived(1)
        found: FlowRun = await until(look)
        return found

    async def sending(self, flow_run_id: UUID) -> None:
        """Wait until a batch is under way."""

        async def look() -> bool:
            found = await self.client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
            )
            return any(
                task.name.startswith("send_batch") and task.state_type is StateType.RUNNING
                for task in found
            )

        await until(look)

    async def states(self, flow_run_id: UUID) -> dict[str, str]:
        """The state of each address."""
        async with self.database.read() as session:
            run = run_ref(await find_run(session, str(flow_run_id)))
        return {
            row["address"]: str(row["state"])
            async for page in open_ledger(self.database).messages(run.id)
            for row in page
        }

    async def hurry(self) -> None:
        """Let the rest go out fast."""
        tenant = self.campaign.partition("/")[0]
        await set_tenant_setting(
            self.database, tenant=tenant, key=PER_SECOND, value=FAST, actor="test"
        )

    async def reconciled(self, flow_run_id: UUID) -> dict[str, str]:
        """What ``reconcile`` does about the run, once it does something."""

        async def look() -> dict[str, str]:
            now = await server_time(self.client) + LATER
            reviver = Reviver(database=self.database, client=self.client, now=now, most=3)
            with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_SECONDS}):
                return await reviver.runs()

        done: dict[str, str] = await until(look, 300)
        if LATER:
            await self.client.set_flow_run_state(flow_run_id, AwaitingRetry(), force=True)
        return done

    async def check(self, flow_run_id: UUID) -> None:
        """At the far side each message is once, and all that the ledger calls sent."""
        taken = Counter(message.recipients[0] for message in self.smtp.accepted)
        states = await self.states(flow_run_id)
        sent = {address for address, state in states.items() if state == "sent"}
        assert set(states.values()) <= {"sent", "uncertain"}
        assert len(states) == PEOPLE
        assert PEOPLE - len(sent) <= 2 * CONNECTIONS
        assert max(taken.values()) == 1
        assert sent <= set(taken)


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 150) -> Any:
    """The first answer that is not empty."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - the condition is a server's
            await asyncio.sleep(0.1)
    return found


@pytest.fixture
async def site(
    prefect: PrefectServer,
    postgres_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Site]:
    environment = {
        "IGNITION_DATABASE_URL": postgres_database_url,
        "IGNITION_LEASE_SECONDS": "10",
        "IGNITION_CONTROL_SECONDS": "0.5",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News")
    (template / "body.txt").write_text("Hello")
    rows = "\n".join(f"p{number}@example.com" for number in range(PEOPLE))
    (tmp_path / "people.csv").write_text(f"email\n{rows}\n")
    file = tmp_path / "news.yaml"
    file.write_text(
        f"name: news\ntenant: {tenant_name}\nchannel: email\naudience: {{csv: people.csv}}\n"
        f"template: news\nblock: {tenant_name}-mail\nfrom: news@acme.example\n"
        f"delivery: {{senders: 2, batch: 500}}\n"
    )
    database = Database(postgres_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    await set_tenant_setting(
        database, tenant=tenant_name, key=PER_SECOND, value=SLOWLY, actor="test"
    )
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client, CaptureSmtpServer() as smtp, AsyncExitStack() as nodes:
        block = SmtpServer(
            host="127.0.0.1", port=smtp.port, security="none", connections=CONNECTIONS
        )
        await block.asave(f"{tenant_name}-mail", client=client)
        await deploy_senders(client)
        planned = await plan(database, client, file, environment="dev")
        assert planned is not None
        done = await carry_out(database, client, planned, actor="test")
        yield Site(
            client,
            prefect,
            database,
            smtp,
            environment,
            done.deployment_id,
            f"{tenant_name}/news",
            nodes,
            tmp_path,
        )
    await database.close()


async def deploy_senders(client: PrefectClient) -> None:
    """What ``prefect deploy --all`` does for ``sender/email``."""
    await client.create_deployment(
        flow_id=await client.create_flow_from_name("sender"),
        name="email",
        entrypoint="flows.sender.sender",
        pull_steps=[],
        work_pool_name="email",
        work_queue_name=SENDERS,
    )


async def test_a_node_that_comes_helps_and_one_that_is_lost_costs_nothing(site: Site) -> None:
    """The second node takes its sender; killed in the middle, the first one sends its share."""
    await site.node("first")
    flow_run_id = await site.start()
    waiting = await site.sender(flow_run_id)
    assert waiting.state_name in ("Scheduled", "Late"), "one node has room for one flow run"
    run = await site.client.read_flow_run(flow_run_id)
    assert waiting.name == f"{run.name} sender 2"
    assert waiting.parent_task_run_id is not None
    assert waiting.work_queue_name == SENDERS
    assert {f"tenant:{site.campaign.partition('/')[0]}", "campaign:news"} <= set(waiting.tags)

    second = await site.node("second")
    await site.sending(waiting.id)
    await site.arrived(site.smtp.received + 100)
    assert site.smtp.received < PEOPLE, "the second node came too late to show anything"
    await asyncio.to_thread(second.lose)
    await site.hurry()
    ended = await site.state(flow_run_id, "Completed", "Failed", "Crashed")

    assert ended.state_name == "Completed"
    await site.check(flow_run_id)


async def test_a_warm_node_lost_with_its_leading_run_is_made_up_for(site: Site) -> None:
    """Nobody is left to say that the run crashed: ``reconcile`` hears that it is silent."""
    first = await site.node("first", WarmWorker)
    flow_run_id = await site.start()
    await site.sending(flow_run_id)
    await site.arrived(50)
    await asyncio.to_thread(first.lose)
    sent = site.smtp.received
    assert sent < PEOPLE
    await site.hurry()
    assert (await site.client.read_flow_run(flow_run_id)).state_name == "Running"

    await site.node("second", WarmWorker)
    done = await site.reconciled(flow_run_id)
    assert list(done) == [(await site.client.read_flow_run(flow_run_id)).name]
    assert "started again, 1 of 3 times" in done.popitem()[1]
    ended = await site.state(flow_run_id, "Completed", "Failed", "Crashed")

    assert ended.state_name == "Completed"
    assert ended.run_count == 2
    assert site.smtp.received > sent
    await site.check(flow_run_id)
