"""Runs with several senders, in this process: a real Prefect server and mail server, no worker."""

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
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.states import Paused, Running
from sqlmodel import select

from blocks import SmtpServer
from flows.campaign import campaign
from flows.sender import sender
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters, SenderParameters
from ignition_ext.campaigns.store import apply
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.run_rows import run_ref
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.pools import SENDERS
from ignition_ext.orchestration.senders import run_tag
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from ignition_ext.values import RunState

pytestmark = pytest.mark.timeout(600)

PEOPLE = 250
"""Worth three senders."""


@dataclass
class Stage:
    """A campaign with three senders, and where its mails arrive."""

    client: PrefectClient
    database: Database
    smtp: CaptureSmtpServer
    folder: Path
    tenant: str

    async def apply(self, **changes: Any) -> None:
        said: dict[str, Any] = {
            "name": "news",
            "tenant": self.tenant,
            "channel": "email",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": f"{self.tenant}-mail",
            "from": "Acme <news@acme.example>",
            "delivery": {"senders": 3},
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await apply(self.database, definition, base_path=self.folder, actor="test")

    async def run(self) -> State[Any]:
        wanted = CampaignParameters(campaign=f"{self.tenant}/news")
        return await campaign(wanted, return_state=True)

    async def row(self) -> CampaignRun | None:
        async with self.database.read() as session:
            return (await session.exec(select(CampaignRun))).one_or_none()

    async def known(self) -> CampaignRun:
        row = await self.row()
        assert row is not None
        return row

    async def counts(self) -> dict[str, int]:
        counts = await open_ledger(self.database).counts(run_ref(await self.known()))
        return {state.value: count for state, count in counts.items() if count}

    async def senders(self) -> list[FlowRun]:
        tags = FlowRunFilterTags(all_=[run_tag((await self.known()).id)])
        found = await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))
        return sorted(found, key=lambda run: run.name)

    async def help(self, version: int = 1) -> State[Any]:
        """A sender for the run, as a worker would start it."""
        row = await self.known()
        assert row.template_version_id is not None
        wanted = SenderParameters(
            campaign=f"{self.tenant}/news",
            run_id=row.id,
            version=version,
            template_version_id=row.template_version_id,
        )
        return await sender(wanted, return_state=True)

    async def reopen(self) -> None:
        """Leave the run as a process does that died before it sent anything."""
        async with self.database.write() as session:
            row = (await session.exec(select(CampaignRun))).one()
            row.state = RunState.OPEN.value
            session.add(row)

    def arrived(self) -> Counter[str]:
        return Counter(message.recipients[0] for message in self.smtp.accepted)


@pytest.fixture
async def stage(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    monkeypatch.setenv("IGNITION_CONTROL_SECONDS", "0.2")
    monkeypatch.setenv("IGNITION_PREFLIGHT", "never")  # some runs are to fail after they began
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News")
    (template / "body.txt").write_text("Hello")
    rows = "\n".join(f"p{number}@example.com" for number in range(PEOPLE))
    (tmp_path / "people.csv").write_text(f"email\n{rows}\n")
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client, CaptureSmtpServer() as smtp:
        made = Stage(client, database, smtp, tmp_path, tenant_name)
        await save_block(made, smtp.port)
        yield made
    await database.close()


async def save_block(stage: Stage, port: int, **more: Any) -> None:
    block = SmtpServer(host="127.0.0.1", port=port, security="none", connections=2, **more)
    await block.asave(f"{stage.tenant}-mail", client=stage.client, overwrite=True)


@pytest.fixture
async def deployed(stage: Stage) -> UUID:
    """What ``prefect deploy --all`` makes of ``sender/email``."""
    return await stage.client.create_deployment(
        flow_id=await stage.client.create_flow_from_name("sender"),
        name="email",
        entrypoint="flows.sender.sender",
        pull_steps=[],
        work_pool_name="email",
        work_queue_name=SENDERS,
    )


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 90) -> Any:
    """The first answer that is not empty."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - the condition is a database's
            await asyncio.sleep(0.05)
    return found


async def test_a_run_gets_on_alone_and_withdraws_who_did_not_come(
    stage: Stage, deployed: UUID
) -> None:
    """No worker is there for its senders: it sends all itself, and they are not left behind."""
    await stage.apply()
    state = await stage.run()

    assert (state.name, state.message) == ("Completed", f"{PEOPLE} sent")
    assert set(stage.arrived().values()) == {1}
    row, senders = await stage.known(), await stage.senders()
    assert [run.name for run in senders] == [f"{row.flow_run_name} sender {n}" for n in (2, 3)]
    assert {run.state_name for run in senders} == {"Skipped"}
    for run in senders:
        assert run.parent_task_run_id is not None
        assert run.deployment_id == deployed
        assert {f"tenant:{stage.tenant}", "channel:email", "campaign:news"} <= set(run.tags)


async def test_without_the_deployment_a_run_has_one_sender(stage: Stage) -> None:
    """Somebody did not deploy it: the run says so in its log and goes on."""
    try:
        found = await stage.client.read_deployment_by_name("sender/email")
        await stage.client.delete_deployment(found.id)
    except ObjectNotFound:
        pass
    await stage.apply()
    state = await stage.run()

    assert (state.name, state.message) == ("Completed", f"{PEOPLE} sent")
    assert await stage.senders() == []


async def test_a_sender_drains_what_its_run_has_left(stage: Stage) -> None:
    """Its own share is what it tells; the run stays its own flow's to close."""
    await save_block(stage, 1, username="x")
    await stage.apply(delivery={"senders": 1})
    assert (await stage.run()).is_failed()
    await save_block(stage, stage.smtp.port)
    await stage.reopen()
    state = await stage.help()

    assert (state.name, state.message) == ("Completed", f"this sender's share: {PEOPLE} sent")
    assert await stage.counts() == {"sent": PEOPLE}
    assert (await stage.known()).state == RunState.OPEN
    assert set(stage.arrived().values()) == {1}


async def test_a_sender_that_comes_too_late_or_to_something_else_does_nothing(
    stage: Stage,
) -> None:
    """The campaign was applied anew, or the run is over: skipped, with the reason."""
    await save_block(stage, 1, username="x")
    await stage.apply(delivery={"senders": 1})
    await stage.run()
    over = await stage.help()
    await stage.reopen()
    other = await stage.help(version=2)

    assert (over.name, other.name) == ("Skipped", "Skipped")
    assert "The run is failed" in (over.message or "")
    assert "was changed since" in (other.message or "")
    assert await stage.counts() == {"pending": PEOPLE}


async def test_a_pause_in_prefect_reaches_the_others_through_the_ledger(stage: Stage) -> None:
    """And resuming there lets all go on."""
    await stage.apply(delivery={"senders": 2}, throttle={"per_second": 20})
    running = asyncio.create_task(stage.run())

    async def some() -> bool:
        return stage.smtp.received >= 5

    async def paused() -> bool:
        return (await stage.known()).state == RunState.PAUSED

    async def going() -> bool:
        return (await stage.known()).state == RunState.OPEN

    await until(some)
    flow_run_id = (await stage.known()).flow_run_id
    assert flow_run_id is not None
    await stage.client.set_flow_run_state(flow_run_id, Paused(timeout_seconds=600), force=True)
    await until(paused)
    assert (await stage.known()).state_reason == "paused in Prefect"
    await stage.client.set_flow_run_state(flow_run_id, Running(), force=True)
    await until(going)
    state = await running

    assert (state.name, state.message) == ("Completed", f"{PEOPLE} sent")
    assert set(stage.arrived().values()) == {1}


async def test_each_step_of_a_run_asks_for_the_senders_that_it_is_worth(
    stage: Stage, deployed: UUID
) -> None:
    """None for the first hundred, one more for the rest; all goes out once."""
    await stage.apply(delivery={"senders": 3, "ramp": [100, "100%"], "ramp_wait": "1s"})
    state = await stage.run()

    assert (state.name, state.message) == ("Completed", f"{PEOPLE} sent")
    assert set(stage.arrived().values()) == {1}
    row, senders = await stage.known(), await stage.senders()
    assert [run.name for run in senders] == [f"{row.flow_run_name} sender 2"]


@pytest.mark.parametrize("decision", ["continue", "cancel"])
async def test_a_run_without_a_deployment_stops_where_it_is(stage: Stage, decision: str) -> None:
    """Paused with the form, its process kept; the answer lets it go on, or ends it.

    What comes after the decision is judged from as many messages on as the first step has: the
    rest is less, so it cannot stop again.
    """
    first = 150
    addresses = [f"reject-550.{n}@example.com" for n in range(50)]
    addresses += [f"p{n}@example.com" for n in range(PEOPLE - 50)]
    (stage.folder / "people.csv").write_text("\n".join(["email", *addresses, ""]))
    steps = {"ramp": [first, "100%"], "ramp_wait": "1s", "stop_if": {"failed": "2%"}}
    await stage.apply(delivery=steps)
    running = asyncio.create_task(stage.run())

    async def asked() -> FlowRun | None:
        row = await stage.row()
        if row is None or row.flow_run_id is None:
            return None
        flow_run = await stage.client.read_flow_run(row.flow_run_id)
        return flow_run if flow_run.state_name == "Paused" else None

    flow_run = await until(asked)
    assert (await stage.known()).state == RunState.PAUSED
    counts = await stage.counts()
    assert counts["pending"] == PEOPLE - first
    await stage.client.resume_flow_run(flow_run.id, run_input={"decision": decision})
    state = await running

    failed, sent = (50, PEOPLE - 50) if decision == "continue" else (counts["failed"], None)
    ended = await stage.counts()
    assert state.name == ("Completed" if decision == "continue" else "Cancelled")
    assert ended["failed"] == failed
    assert ended["sent"] == (sent or counts["sent"])
    assert ended.get("cancelled", 0) == (0 if sent else PEOPLE - first)
