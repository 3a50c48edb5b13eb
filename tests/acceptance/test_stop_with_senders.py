"""A run of three senders in processes of a worker's that stops by itself, and is let go on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from sqlmodel import select

from blocks import SmtpServer
from ignition_ext.campaigns.step_rows import read_steps
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer, PrefectWorker
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.run_rows import run_ref
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.apply import carry_out, plan
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.pools import SENDERS
from ignition_ext.orchestration.senders import run_tag
from ignition_ext.templates.store import push
from ignition_ext.tenants import PER_SECOND, create_tenant, set_tenant_setting
from ignition_ext.values import MessageState, RunState

pytestmark = pytest.mark.timeout(1500)

PEOPLE, REFUSED_EACH = 1_800, 10
AFTER = 600
SLOWLY, STEADILY, FAST = 3, 120, 5_000
"""Messages a second until all senders are there, until the run stopped, and at the end. Six hundred
slow ones take longer than any machine needs to start two processes."""
BATCH = 10
TRIED = (MessageState.SENT, MessageState.FAILED)
UNDER_WAY = (MessageState.CLAIMED, MessageState.SENDING)
Counts = dict[MessageState, int]


@dataclass
class Site:
    """The campaign, where its mails arrive, and the run."""

    client: PrefectClient
    database: Database
    smtp: CaptureSmtpServer
    tenant: str
    flow_run_id: UUID

    async def row(self) -> CampaignRun | None:
        async with self.database.read() as session:
            return (await session.exec(select(CampaignRun))).one_or_none()

    async def known(self) -> CampaignRun:
        found: CampaignRun = await until(self.row)
        return found

    async def counts(self) -> Counts:
        return dict(await open_ledger(self.database).counts(run_ref(await self.known())))

    async def senders(self) -> list[FlowRun]:
        tags = FlowRunFilterTags(all_=[run_tag((await self.known()).id)])
        return await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))

    async def rate(self, per_second: int) -> None:
        await set_tenant_setting(
            self.database, tenant=self.tenant, key=PER_SECOND, value=per_second, actor="test"
        )

    async def flow_run(self, name: str) -> FlowRun:
        """The run's own flow run, once it is in that state."""

        async def look() -> FlowRun | None:
            found = await self.client.read_flow_run(self.flow_run_id)
            return found if found.state_name == name else None

        found: FlowRun = await until(look)
        return found


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 420) -> Any:
    """The first answer that is not empty."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - the condition is a server's
            await asyncio.sleep(0.5)
    return found


def total(counts: Counts, *groups: tuple[MessageState, ...]) -> int:
    return sum(counts.get(state, 0) for group in groups for state in group)


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
        "IGNITION_CONTROL_SECONDS": "0.5",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    database = Database(postgres_database_url)
    await write_campaign(database, tmp_path, tenant_name)
    async with prefect_client() as client, CaptureSmtpServer() as smtp:
        block = SmtpServer(host="127.0.0.1", port=smtp.port, security="none", connections=2)
        await block.asave(f"{tenant_name}-mail", client=client)
        await client.create_deployment(  # as `prefect deploy --all` does
            flow_id=await client.create_flow_from_name("sender"),
            name="email",
            entrypoint="flows.sender.sender",
            pull_steps=[],
            work_pool_name="email",
            work_queue_name=SENDERS,
        )
        planned = await plan(database, client, tmp_path / "news.yaml", environment="dev")
        assert planned is not None
        done = await carry_out(database, client, planned, actor="test")
        worker = PrefectWorker(prefect, "email", environment=environment, limit=3)
        await asyncio.to_thread(worker.start)
        run = await client.create_flow_run_from_deployment(
            done.deployment_id,
            parameters={"parameters": {"campaign": f"{tenant_name}/news"}},
            job_variables={"env": environment},
        )
        yield Site(client, database, smtp, tenant_name, run.id)
        await asyncio.to_thread(worker.stop)
    await database.close()


async def write_campaign(database: Database, folder: Path, tenant: str) -> None:
    template = folder / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News")
    (template / "body.txt").write_text("Hello")
    rows = [
        f"{'p' if number % REFUSED_EACH else 'reject-550.'}{number}@example.com"
        for number in range(PEOPLE)
    ]
    (folder / "people.csv").write_text("\n".join(["email", *rows, ""]))
    (folder / "news.yaml").write_text(
        f"name: news\ntenant: {tenant}\nchannel: email\naudience: {{csv: people.csv}}\n"
        f"template: news\nblock: {tenant}-mail\nfrom: news@acme.example\n"
        f"delivery: {{senders: 3, batch: {BATCH}, stop_if: {{failed: 5%, after: {AFTER}}}}}\n"
    )
    await create_tenant(database, name=tenant, actor="test")
    await set_tenant_setting(database, tenant=tenant, key=PER_SECOND, value=SLOWLY, actor="test")
    await push(database, tenant=tenant, folder=template, actor="test", publish=True)


async def test_a_stop_holds_all_senders_and_a_decision_lets_them_go_on(
    site: Site, ignition: Callable[..., Any]
) -> None:
    """Nothing is claimed after the stop, by any of them; approved, the rest goes out once."""

    async def two_send() -> bool:
        return [run.state_name for run in await site.senders()].count("Running") == 2

    async def stopped() -> bool:
        return (await site.known()).state == RunState.PAUSED

    async def at_rest() -> bool:
        return not total(await site.counts(), UNDER_WAY)

    await until(two_send)
    assert total(await site.counts(), TRIED) < AFTER, "they came too late to show anything"
    await site.rate(STEADILY)
    await until(stopped)
    # From here on nothing can be claimed: what may still go out is what was claimed before.
    at_stop = await site.counts()
    await until(at_rest)
    await site.flow_run("Suspended")
    left = await site.counts()

    assert total(at_stop, TRIED) >= AFTER
    assert total(at_stop, UNDER_WAY) <= 3 * BATCH
    assert total(left, TRIED) <= total(at_stop, TRIED, UNDER_WAY)
    assert left[MessageState.PENDING] >= at_stop[MessageState.PENDING]
    assert total(left, TRIED, (MessageState.PENDING,)) == PEOPLE
    assert site.smtp.received == left[MessageState.SENT]
    steps = await read_steps(site.database, (await site.known()).id)
    assert steps is not None
    assert steps.stops == 1
    assert steps.stop["counts"]["failed"] >= AFTER * 5 // 100

    await site.rate(FAST)
    words = ("campaign", "approve", f"{site.tenant}/news", "--continue", "--stop-watching")
    approved = ignition(*words, "--note", "their list was old", "--json")
    assert approved.code == 0, approved.err
    await site.flow_run("Completed")

    ended = await site.counts()
    assert (ended[MessageState.SENT], ended[MessageState.FAILED]) == (
        PEOPLE - PEOPLE // REFUSED_EACH,
        PEOPLE // REFUSED_EACH,
    )
    taken = Counter(message.recipients[0] for message in site.smtp.accepted)
    assert len(taken) == ended[MessageState.SENT]
    assert set(taken.values()) == {1}
