"""Runs that lost their process, against a real Prefect server; no worker is needed for that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Crashed, Pending, Running
from sqlmodel import col, select

from flows import reconcile as module
from flows.reconcile import reconcile
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.runs import (
    OpenedRun,
    RunRequest,
    close_run,
    find_run,
    mirror,
    open_run,
)
from ignition_ext.models import AuditLog, Campaign, CampaignRun
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.heartbeats import server_time
from ignition_ext.orchestration.mirror import mirror_state
from ignition_ext.orchestration.revival import Reviver
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, RunState

pytestmark = pytest.mark.timeout(600)

LONG = timedelta(hours=1)
"""Nothing was heard for so long."""


@dataclass
class Site:
    """A tenant with a campaign, and the flow runs of its runs."""

    client: PrefectClient
    database: Database
    tenant_id: int
    campaign_id: int
    deployment_id: UUID

    async def run(self, state: State[Any], messages: int = 1) -> tuple[OpenedRun, UUID]:
        """A run that stands in Prefect as a process that is gone has left it."""
        flow_run = await self.client.create_flow_run_from_deployment(self.deployment_id)
        for step in (Pending(), Running(), state):
            await self.client.set_flow_run_state(flow_run.id, step, force=True)
        request = RunRequest(
            tenant_id=self.tenant_id,
            campaign_id=self.campaign_id,
            campaign_version=1,
            flow_run_id=flow_run.id,
            flow_run_name=flow_run.name,
            scheduled_at=datetime.now(UTC),
        )
        opened = await open_run(self.database, request, actor="test")
        await open_ledger(self.database).snapshot(opened.ref, _messages(messages))
        await mirror(self.database, opened.ref, prefect_state="Running")
        if state.is_crashed():
            await mirror_state(self.database, flow_run.id, state)
        return opened, flow_run.id

    async def look(self, *, later: timedelta = LONG, most: int = 2) -> dict[str, str]:
        """What ``reconcile`` does about runs, some time later."""
        now = await server_time(self.client) + later
        reviver = Reviver(database=self.database, client=self.client, now=now, most=most)
        return await reviver.runs()

    async def begin(self, state: State[Any]) -> UUID:
        """A flow run that stands in Prefect alone: its process was lost before it opened a run."""
        flow_run = await self.client.create_flow_run_from_deployment(self.deployment_id)
        for step in (Pending(), Running(), state):
            await self.client.set_flow_run_state(flow_run.id, step, force=True)
        return flow_run.id

    async def look_at_unopened(self, *, later: timedelta = LONG) -> dict[str, str]:
        """What ``reconcile`` does about those, some time later."""
        now = await server_time(self.client) + later
        reviver = Reviver(database=self.database, client=self.client, now=now, most=2)
        return await reviver.unopened()

    async def flow_run(self, flow_run_id: UUID) -> FlowRun:
        return await self.client.read_flow_run(flow_run_id)

    async def row(self, flow_run_id: UUID) -> CampaignRun:
        async with self.database.read() as session:
            return await find_run(session, str(flow_run_id))

    async def audited(self) -> list[str]:
        async with self.database.read() as session:
            query = select(AuditLog.action).where(col(AuditLog.actor) == "reconcile")
            return list(await session.exec(query))


async def _messages(count: int) -> AsyncIterator[list[NewMessage]]:
    yield [
        NewMessage(channel=Channel.EMAIL, address=f"p{number}@example.com", domain="example.com")
        for number in range(count)
    ]


@pytest.fixture
async def site(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Site]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    database = Database(sqlite_database_url)
    tenant = await create_tenant(database, name=tenant_name, actor="test")
    assert tenant.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id, name="news", version=1)
        session.add(campaign)
        await session.flush()
        campaign_id = campaign.id
    assert campaign_id is not None
    async with prefect_client() as client:
        deployment_id = await client.create_deployment(
            flow_id=await client.create_flow_from_name("campaign"), name=tenant_name
        )
        async with database.write() as session:
            campaign = await session.get_one(Campaign, campaign_id)
            campaign.prefect_deployment_id = deployment_id
            session.add(campaign)
        yield Site(client, database, tenant.id, campaign_id, deployment_id)
        await client.delete_deployment(deployment_id)
    await database.close()


@pytest.mark.parametrize("how", [Running, Crashed])
async def test_a_run_without_a_process_is_started_again_a_few_times(site: Site, how: Any) -> None:
    """Found by its silence, or because Prefect saw it crash; in the end it is an operator's."""
    _, flow_run_id = await site.run(how(message="Killed."))
    for number in (1, 2):
        [words] = (await site.look()).values()
        assert f"{number} of 2 times" in words
        run = await site.flow_run(flow_run_id)
        assert run.state_name == "AwaitingRetry"
        assert run.infrastructure_pid is None
        assert (await site.row(flow_run_id)).prefect_state == "AwaitingRetry"
        assert await site.look() == {}, "it waits for a worker now"
        await site.client.set_flow_run_state(flow_run_id, how(message="Killed."), force=True)
        await mirror_state(site.database, flow_run_id, how(message="Killed."))
    await site.look()

    run = await site.flow_run(flow_run_id)
    assert run.state_name == "Crashed"
    assert (await site.row(flow_run_id)).state == RunState.OPEN
    assert await site.look() == {}
    assert await site.audited() == ["run.revived", "run.revived"]


@pytest.mark.parametrize("how", [Pending, Running, Crashed])
async def test_a_run_that_was_lost_before_it_was_opened_begins_again(site: Site, how: Any) -> None:
    """In pre-flight, say, which takes minutes; nothing was sent. In the end it is an operator's."""
    flow_run_id = await site.begin(how(message="Killed."))
    assert await site.look() == {}, "the ledger knows nothing of it"
    assert await site.look_at_unopened(later=timedelta(seconds=20)) == {}
    for number in (1, 2):
        [words] = (await site.look_at_unopened()).values()
        assert words.startswith(f"began again, {number} of 2 times")
        assert (await site.flow_run(flow_run_id)).state_name == "AwaitingRetry"
        assert await site.look_at_unopened() == {}, "it waits for a worker now"
        for step in (Pending(), how(message="Killed.")):
            await site.client.set_flow_run_state(flow_run_id, step, force=True)

    await site.look_at_unopened()

    assert (await site.flow_run(flow_run_id)).state_name == "Crashed"
    assert await site.look_at_unopened() == {}


async def test_runs_of_other_installations_are_let_alone(site: Site) -> None:
    """Two may share a Prefect server; each knows its own campaigns' deployments."""
    flow_run_id = await site.begin(Crashed(message="Killed."))
    async with site.database.write() as session:
        campaign = await session.get_one(Campaign, site.campaign_id)
        campaign.prefect_deployment_id = None
        session.add(campaign)

    assert await site.look_at_unopened() == {}
    assert (await site.flow_run(flow_run_id)).state_name == "Crashed"


async def test_a_run_that_is_worked_on_is_let_alone(site: Site) -> None:
    """A sender keeps its lease: nobody need start the run's own flow before that is over."""
    run, flow_run_id = await site.run(Running(), messages=2)
    ledger = open_ledger(site.database)
    lease = await ledger.claim(run.ref, limit=1, lease=timedelta(minutes=5))
    assert await site.look() == {}

    await ledger.release(run.ref, lease.id)
    assert len(await site.look()) == 1
    assert (await site.flow_run(flow_run_id)).state_name == "AwaitingRetry"


@pytest.mark.parametrize("how", [Running, Crashed])
async def test_a_young_silence_is_no_death(site: Site, how: Any) -> None:
    """Prefect reports a crash twice; a heartbeat or two may be lost."""
    _, flow_run_id = await site.run(how())
    assert await site.look(later=timedelta(seconds=20)) == {}
    assert (await site.flow_run(flow_run_id)).state_name == how().name


@pytest.mark.parametrize("end", [RunState.COMPLETED, RunState.FAILED])
async def test_a_run_that_ended_while_prefect_was_away_is_closed_there(
    site: Site, end: RunState
) -> None:
    """Its process had done all and could not say so."""
    run, flow_run_id = await site.run(Running())
    await close_run(site.database, run.ref, end, "1 sent", {})
    assert len(await site.look()) == 1

    found = await site.flow_run(flow_run_id)
    assert found.state is not None
    assert (found.state_name, found.state.message) == (end.value.title(), "1 sent")
    assert (await site.row(flow_run_id)).prefect_state == end.value.title()
    assert await site.look() == {}


async def test_two_at_once_start_a_run_once(site: Site) -> None:
    """Whoever comes second changes nothing, though it looked before."""
    _, flow_run_id = await site.run(Running())
    row = await site.row(flow_run_id)
    first = Reviver(
        database=site.database,
        client=site.client,
        now=await server_time(site.client) + LONG,
        most=5,
    )
    found = await site.flow_run(flow_run_id)
    assert await first._look_after(row, found, "gone.") != ""
    assert await first._look_after(row, found, "gone.") == ""
    assert await site.audited() == ["run.revived"]


async def test_a_lost_sender_is_called_crashed(site: Site) -> None:
    """What it held is others' by then; one that is heard of stays as it is."""
    client = site.client
    deployment_id = await client.create_deployment(
        flow_id=await client.create_flow_from_name("sender"), name=str(site.deployment_id)
    )
    flow_run = await client.create_flow_run_from_deployment(deployment_id)
    for step in (Pending(), Running()):
        await client.set_flow_run_state(flow_run.id, step, force=True)
    now = await server_time(client)
    early = Reviver(database=site.database, client=client, now=now, most=2)
    assert flow_run.name not in await early.senders()
    late = Reviver(database=site.database, client=client, now=now + LONG, most=2)
    assert flow_run.name in await late.senders()
    assert (await site.flow_run(flow_run.id)).state_name == "Crashed"
    await client.delete_deployment(deployment_id)


async def test_a_part_that_fails_is_named_and_stops_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lapsed leases are settled although the part before broke; the artifact tells of both."""
    run, _ = await site.run(Running(), messages=3)
    ledger = open_ledger(site.database)
    await ledger.claim(run.ref, limit=2, lease=timedelta(milliseconds=1))

    async def broken() -> dict[str, str]:
        raise OSError("no space left")

    monkeypatch.setattr(module, "PARTS", (("Disk", broken), *module.PARTS))
    state = await reconcile(return_state=True)

    assert state.is_failed()
    assert "Disk: OSError: no space left" in (state.message or "")
    artifact = await Artifact.aget("reconcile")
    assert artifact is not None
    assert "**Disk: failed.**" in str(artifact.data)
    assert "2 messages of a dead sender can be sent again" in str(artifact.data)
    assert "run.leases-ended" in await site.audited()
