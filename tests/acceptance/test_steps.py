"""Runs that stop while they wait: found by reconcile, asked and answered in a real Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import AwaitingRetry, Running, State
from sqlmodel import col, select

from ignition_ext.campaigns.definition import DeliverySpec
from ignition_ext.campaigns.step_rows import advance, begin_steps, read_steps
from ignition_ext.campaigns.step_stops import Decision, DecisionKind, is_stopped
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Evidence, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, find_run, mirror, open_run
from ignition_ext.models import AuditLog, Campaign, CampaignRun
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.steps import Approval, StepWatch, answer, ask, carry_out
from ignition_ext.tenants import create_tenant
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    MessageState,
    Outcome,
    OutcomeKind,
    RunRef,
)

PEOPLE, FIRST = 200, 100
NEVER = StandardRetry(strategy="fixed", attempts=1, base=timedelta(0), max=timedelta(0))
BOUNCE = Outcome(
    kind=OutcomeKind.REJECTED,
    code="550",
    enhanced="5.1.1",
    text="no such user",
    failure_class=FailureClass.ADDRESS,
)


@dataclass
class Site:
    """A run whose first step is out, and which waits in Prefect for its second."""

    client: PrefectClient
    database: Database
    ref: RunRef
    flow_run_id: UUID

    async def bounce(self, count: int) -> None:
        """Let so many of those that were sent come back."""
        ledger = open_ledger(self.database)
        sent = [
            row["message_id"]
            async for page in ledger.messages(self.ref.id, states=[MessageState.SENT])
            for row in page
        ]
        told = [
            Evidence(message_id=key, state=MessageState.BOUNCED, outcome=BOUNCE)
            for key in sent[:count]
        ]
        await ledger.evidence(told)

    async def look(self) -> dict[str, str]:
        watch = StepWatch(database=self.database, client=self.client)
        return dict(await watch.look())

    async def row(self) -> CampaignRun:
        async with self.database.read() as session:
            return await find_run(session, str(self.ref.id))

    async def state(self) -> State[Any]:
        state = (await self.client.read_flow_run(self.flow_run_id)).state
        assert state is not None
        return state

    async def audited(self) -> list[tuple[str, str]]:
        async with self.database.read() as session:
            query = select(AuditLog.actor, AuditLog.action).order_by(col(AuditLog.seq))
            found = await session.exec(query.where(AuditLog.subject == f"run:{self.ref.id}"))
            return [(actor, action) for actor, action in found]


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
        flow_run = await client.create_flow_run_from_deployment(deployment_id)
        later: State[Any] = AwaitingRetry(scheduled_time=datetime.now(UTC) + timedelta(hours=1))
        for state in (Running(), later):
            await client.set_flow_run_state(flow_run.id, state, force=True)
        request = RunRequest(
            tenant_id=tenant.id,
            campaign_id=campaign_id,
            campaign_version=1,
            flow_run_id=flow_run.id,
            flow_run_name=flow_run.name,
        )
        ref = (await open_run(database, request, actor="test")).ref
        await mirror(database, ref, prefect_state="AwaitingRetry")
        await send_first_step(database, ref)
        yield Site(client, database, ref, flow_run.id)
        await client.delete_deployment(deployment_id)
    await database.close()


async def send_first_step(database: Database, ref: RunRef) -> None:
    async def people() -> AsyncIterator[list[NewMessage]]:
        yield [
            NewMessage(channel=Channel.EMAIL, address=f"p{n}@far.example", domain="far.example")
            for n in range(PEOPLE)
        ]

    ledger = open_ledger(database)
    spec = DeliverySpec.model_validate({"ramp": ["50%", "100%"], "stop_if": {"bounced": "2%"}})
    await begin_steps(database, ref, spec)
    await ledger.snapshot(ref, people(), is_held=True)
    await ledger.finish_snapshot(ref, skipped=0, rejected=0, duplicates=0)
    await advance(database, ledger, ref, await ledger.counts(ref))
    lease = await ledger.claim(ref, limit=PEOPLE, lease=timedelta(minutes=1))
    ids = [message.id for message in lease.messages]
    assert len(ids) == FIRST
    await ledger.intend(ref, lease.id, ids)
    sent = Outcome(kind=OutcomeKind.ACCEPTED, code="250")
    told = [Delivery(message_id=key, outcome=sent) for key in ids]
    await ledger.settle(ref, lease.id, told, NEVER)
    await ledger.release(ref, lease.id)
    await advance(database, ledger, ref, await ledger.counts(ref))


async def test_bounces_stop_a_run_that_waits(site: Site, ignition: Any) -> None:
    """It is suspended with a form; nobody resumes it by the way; one decision is enough."""
    await site.bounce(1)
    assert await site.look() == {}
    await site.bounce(1)

    [words] = (await site.look()).values()

    assert words == "stopped: 2 of 100 bounced (2.00 %, at 2%)"
    assert (await site.row()).prefect_state == "Suspended"
    assert (await site.state()).name == "Suspended"
    assert await site.look() == {}, "it was asked"
    plainly = await site.client.resume_flow_run(site.flow_run_id)
    assert plainly.status is SetStateStatus.REJECT
    refused = await asyncio.to_thread(ignition, "campaign", "resume", str(site.ref.id))
    assert refused.code == 1
    assert f"ignition campaign approve {site.ref.id} --continue" in " ".join(refused.err.split())

    command = ("campaign", "approve", str(site.ref.id), "--continue", "--note", "known", "--json")
    approved = await asyncio.to_thread(ignition, *command)

    assert approved.code == 0, approved.err
    assert approved.document["state"] == "open"
    assert (await site.state()).name == "Resuming"
    steps = await read_steps(site.database, site.ref.id)
    assert steps is not None
    assert steps.base["bounced"] == 2
    given = await answer(site.client, site.flow_run_id, steps)
    assert given == Decision(kind=DecisionKind.CONTINUE, note="known")
    again = await asyncio.to_thread(ignition, *command)
    assert again.code == 1
    assert "does not wait for a decision" in again.err
    assert (await site.audited())[-2:] == [("ignition", "run.stopped"), ("test", "run.approved")]


async def test_a_stopped_run_is_cancelled_by_decision(site: Site, ignition: Any) -> None:
    """In the ledger with all that was held, and in Prefect."""
    await site.bounce(3)
    await site.look()

    done = await asyncio.to_thread(
        ignition, "campaign", "approve", str(site.ref.id), "--cancel", "--note", "wrong list"
    )

    assert done.code == 0, done.err
    counts = await open_ledger(site.database).counts(site.ref)
    assert counts[MessageState.CANCELLED] == PEOPLE - FIRST
    assert "wrong list" in (await site.row()).state_reason
    assert (await site.state()).name == "Cancelled"


async def test_an_approval_that_the_suspension_overtook_is_made_good(site: Site) -> None:
    """Approved in the ledger a moment before the run suspended itself: it does not stay so."""
    await site.bounce(3)
    ledger = open_ledger(site.database)
    flow_run = await site.client.read_flow_run(site.flow_run_id)
    await site.client.set_flow_run_state(site.flow_run_id, Running(), force=True)
    await site.look()
    steps = await read_steps(site.database, site.ref.id)
    row = await site.row()
    assert steps is not None
    assert is_stopped(steps, row.state)
    assert (await site.state()).name == "Running", "its own process suspends it"
    go_on = Decision(kind=DecisionKind.CONTINUE)
    await carry_out(site.database, row, go_on, actor="eva")
    await ask(site.database, site.client, row, steps, flow_run)
    assert (await site.state()).name == "Suspended"

    [words] = (await site.look()).values()

    assert words == "goes on: it was approved"
    assert (await site.state()).name == "Resuming"
    assert (await ledger.counts(site.ref))[MessageState.BOUNCED] == 3


def test_the_form_asks_for_a_decision() -> None:
    """Nobody approves by pressing a button twice: there is no default."""
    schema = Approval.model_json_schema()

    assert schema["required"] == ["decision"]
    assert set(schema["properties"]) == {"decision", "note", "keep_watching"}
    assert schema["additionalProperties"] is False
