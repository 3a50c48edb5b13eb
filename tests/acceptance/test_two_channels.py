"""Campaigns with two channels: each leg a run of its own, counted where its messages arrive."""

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
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Scheduled
from sqlmodel import col, select

from blocks import SmppGateway, SmtpServer
from flows.campaign import campaign
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.consent.preferences import Choices, set_preferences
from ignition_ext.costs.actual import read_cost
from ignition_ext.costs.card import Price
from ignition_ext.costs.card_store import NewCard, import_card
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.stack import PrefectServer, WarmWorker
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.legs import open_companion
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import CampaignRun, CostKind, EstimateBasis, PriceKind
from ignition_ext.orchestration.apply import carry_out, plan
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import ENTRYPOINT, FLOW, find_deployment
from ignition_ext.orchestration.legs import (
    end_cancelled_legs,
    start_leg,
    start_waiting_legs,
)
from ignition_ext.orchestration.mirror import cancel_run, reference_of
from ignition_ext.orchestration.runs import cancel, run_status
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, MessageState

pytestmark = pytest.mark.timeout(900)

MANY = 200


@dataclass
class Stage:
    """A tenant with a template for both channels, a mail server and an SMSC."""

    client: PrefectClient
    database: Database
    smtp: CaptureSmtpServer
    smsc: SmscSimulator
    folder: Path
    tenant: str
    environment: dict[str, str]

    async def apply(self, *rows: str, **more: str) -> UUID:
        """Store the campaign with these recipients; the deployment's id."""
        (self.folder / "people.csv").write_text("\n".join(["email,phone,name", *rows, ""]))
        sms = f"{{block: {self.tenant}-sms, from: ACME}}"
        return await self.write("news", **{"channel": "both", "sms": sms} | more)

    async def write(self, name: str, **more: str) -> UUID:
        """Store a campaign to the same recipients."""
        said = {
            "name": name,
            "tenant": self.tenant,
            "audience": "{csv: people.csv}",
            "template": "news",
            "block": f"{self.tenant}-mail",
            "from": "Acme <news@acme.example>",
            **more,
        }
        file = self.folder / f"{name}.yaml"
        file.write_text("".join(f"{key}: {value}\n" for key, value in said.items()))
        planned = await plan(self.database, self.client, file, environment="dev")
        assert planned is not None
        done = await carry_out(self.database, self.client, planned, actor="test")
        return done.deployment_id

    async def run_here(self) -> State[Any]:
        wanted = CampaignParameters(campaign=f"{self.tenant}/news")
        return await campaign(wanted, return_state=True)

    async def legs(self, flow_run_id: UUID | None = None) -> dict[str, CampaignRun]:
        """The runs by channel, of this flow run or of the only one; at most one of each."""
        async with self.database.read() as session:
            rows = list(await session.exec(select(CampaignRun).order_by(col(CampaignRun.channel))))
        if flow_run_id is not None:
            (lead,) = [row.id for row in rows if row.flow_run_id == flow_run_id]
            rows = [row for row in rows if lead in (row.id, row.lead_run_id)]
        assert len({row.channel for row in rows}) == len(rows)
        return {row.channel: row for row in rows}

    def mails(self) -> Counter[str]:
        return Counter(message.recipients[0] for message in self.smtp.accepted)

    def texts(self) -> Counter[str]:
        return Counter(submit.destination for submit in self.smsc.submits)

    async def like(self, channel: Channel, address: str, best: Channel) -> None:
        async with self.database.write() as session:
            await set_preferences(
                session,
                tenant_id=1,
                channel=channel,
                address=address,
                choices=Choices(preferred=best),
                actor="test",
            )

    async def ended(self, flow_run_id: UUID | None, *names: str, runs: int = 1) -> FlowRun:
        """The flow run, once it is in one of these states for the given time."""
        assert flow_run_id is not None

        async def look() -> FlowRun | None:
            run = await self.client.read_flow_run(flow_run_id)
            return run if run.state_name in names and run.run_count >= runs else None

        found: FlowRun = await wait_until(look)
        return found


async def wait_until(look: Callable[[], Awaitable[Any]], seconds: float = 240) -> Any:
    """The first answer that is not empty."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - the condition is a server's
            await asyncio.sleep(0.1)
    return found


@pytest.fixture
async def stage(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    environment = {
        "IGNITION_DATABASE_URL": sqlite_database_url,
        "IGNITION_CONTROL_SECONDS": "0.2",
        "IGNITION_DRAIN_SECONDS": "5",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News for {{ name }}")
    (template / "body.txt").write_text("Hello {{ name }}")
    (template / "sms.txt").write_text("Hello {{ name }}")
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, region="DE", actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client, CaptureSmtpServer() as smtp, SmscSimulator() as smsc:
        await SmtpServer(host="127.0.0.1", port=smtp.port, security="none").asave(
            f"{tenant_name}-mail", client=client
        )
        await SmppGateway(
            host="127.0.0.1", port=smsc.port, system_id=smsc.system_id, password=smsc.password
        ).asave(f"{tenant_name}-sms", client=client)
        yield Stage(client, database, smtp, smsc, tmp_path, tenant_name, environment)
    await database.close()


async def test_each_recipient_gets_both_the_one_there_is_or_the_one_liked_best(
    stage: Stage,
) -> None:
    """A run without workers drives its second channel itself; the far side has what was meant."""
    await stage.apply(
        "ada@example.com,+491701234501,Ada",
        "bob@example.com,,Bob",
        ",+491701234503,Cid",
        "dea@example.com,+491701234504,Dea",
        "eve@example.com,+491701234505,Eve",
    )
    following = await stage.write("next", channel="email", after=f"[{stage.tenant}/news]")
    prices = [Price(kind=PriceKind.PREFIX, code="49", micros=75_000)]
    card = NewCard(currency="EUR", email_micros=10_000, prices=prices)
    await import_card(stage.database, tenant=stage.tenant, card=card, actor="test")
    await stage.like(Channel.EMAIL, "dea@example.com", Channel.SMS)
    await stage.like(Channel.SMS, "+491701234505", Channel.EMAIL)
    state = await stage.run_here()

    assert (state.name, state.message) == ("Completed", "3 sent")
    assert stage.mails() == Counter(["ada@example.com", "bob@example.com", "eve@example.com"])
    assert stage.texts() == Counter(["491701234501", "491701234503", "491701234504"])
    legs = await stage.legs()
    lead, companion = legs["email"], legs["sms"]
    assert (lead.state, companion.state) == ("completed", "completed")
    assert (lead.lead_run_id, companion.lead_run_id) == (None, lead.id)
    assert (lead.skipped, companion.skipped) == (1, 1)
    assert companion.flow_run_name == f"{lead.flow_run_name} sms"
    status = await run_status(stage.database, f"{stage.tenant}/news")
    assert status.run_id == lead.id
    for leg, money in ((lead, "0.03 EUR"), (companion, "0.23 EUR")):
        async with stage.database.read() as session:
            cost = await read_cost(session, leg.id, CostKind.ESTIMATE)
        assert cost is not None
        assert (cost.basis, str(cost.money)) == (EstimateBasis.PREFLIGHT, money)
    assert status.other_leg is not None
    assert (status.other_leg.run_id, status.other_leg.counts["total"]) == (companion.id, 3)
    (let_go,) = await stage.client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[following]))
    )
    assert let_go.state is not None
    assert let_go.state.message == f"let go: {stage.tenant}/news completed"
    await stage.client.delete_deployment(following)


async def test_a_companion_has_one_flow_run_whoever_asks_and_it_ends_with_its_lead(
    stage: Stage,
) -> None:
    """Asked for by several at once, also after the first was deleted; no worker is there."""
    deployment = await stage.apply("ada@example.com,+491701234501,Ada")
    await drop_deployment(stage.client)
    await deploy_legs(stage.client)
    leading = await stage.client.create_flow_run_from_deployment(
        deployment, tags=["urgent"], work_queue_name="high"
    )
    request = RunRequest(
        tenant_id=1,
        campaign_id=1,
        campaign_version=1,
        flow_run_id=leading.id,
        flow_run_name="the lead",
        channel=Channel.EMAIL,
    )
    lead = (await open_run(stage.database, request, actor="test")).ref
    leg = await open_companion(stage.database, lead, Channel.SMS, actor="test", is_whole=True)
    assert leg is not None

    async def ask() -> FlowRun:
        await asyncio.gather(
            *(
                start_leg(stage.database, stage.client, leg.id, reason="", actor="test")
                for _ in range(3)
            )
        )
        key = (await stage.legs())["sms"].flow_run_id
        assert key is not None
        return await stage.client.read_flow_run(key)

    first = await ask()
    await stage.client.delete_flow_run(leading.id)  # a later test's worker would begin it
    assert (await ask()).id == first.id
    assert (first.name, first.work_queue_name) == ("the lead sms", "high")
    assert {"urgent", "channel:sms", f"tenant:{stage.tenant}"} <= set(first.tags)
    assert "channel:both" not in first.tags
    assert first.parameters["parameters"] == {
        "campaign": f"{stage.tenant}/news",
        "leg": str(leg.id),
    }
    await stage.client.delete_flow_run(first.id)
    second = await ask()
    assert second.id != first.id

    await cancel_run(stage.database, lead, reason="enough")
    assert list(await end_cancelled_legs(stage.database, stage.client)) == ["the lead sms"]
    await stage.ended(second.id, "Cancelled", runs=0)
    assert await end_cancelled_legs(stage.database, stage.client) == {}
    row = (await stage.legs())["sms"]
    assert (row.state, row.prefect_state) == ("cancelled", "Cancelled")
    assert row.ended_at is not None


@pytest.fixture
async def workers(prefect: PrefectServer, stage: Stage) -> AsyncIterator[None]:
    """One for each channel's pool."""
    with (
        WarmWorker(prefect, "email", environment=stage.environment),
        WarmWorker(prefect, "sms", environment=stage.environment),
    ):
        yield


async def drop_deployment(client: PrefectClient) -> None:
    """As where nobody has run prefect deploy --all since the release."""
    found = await find_deployment(client, "sms")
    if found is not None:
        await client.delete_deployment(found.id)


async def deploy_legs(client: PrefectClient) -> None:
    """The deployment that prefect.yaml has for second channels."""
    await client.create_deployment(
        flow_id=await client.create_flow_from_name(FLOW),
        name="sms",
        entrypoint=ENTRYPOINT,
        pull_steps=[],
        work_pool_name="sms",
    )


@pytest.mark.usefixtures("workers")
async def test_both_channels_go_on_when_retried_and_stop_when_their_run_is_cancelled(
    stage: Stage,
) -> None:
    """Counted where they arrive: nobody gets anything twice, and what did not go is accounted for.

    Whatever deployment for second channels there was is made anew: the first one was missing.
    """
    people = [f"p{n}@example.com,+4917012{n:05d},P{n}" for n in range(MANY)]
    mails = Counter(f"p{n}@example.com" for n in range(MANY))
    texts = Counter(f"4917012{n:05d}" for n in range(MANY))
    slow = {
        "throttle": "{per_second: 20}",
        "sms": f"{{block: {stage.tenant}-sms, from: ACME, throttle: {{per_second: 20}}}}",
    }
    await drop_deployment(stage.client)
    deployment = await stage.apply(*people, time_limit="5s", **slow)
    run = await stage.client.create_flow_run_from_deployment(deployment)
    await stage.ended(run.id, "Failed")

    companion = (await stage.legs())["sms"]
    assert (companion.state, companion.flow_run_id) == ("open", None)
    assert sum(stage.mails().values()) < MANY
    assert stage.texts() == Counter()
    later = await stage.client.create_flow_run_from_deployment(deployment)
    waiting = await stage.ended(later.id, "AwaitingRetry")
    assert waiting.state is not None
    assert waiting.state.message == f"waits for the run {companion.flow_run_name}"
    await stage.client.delete_flow_run(later.id)
    await deploy_legs(stage.client)
    for started in ([companion.flow_run_name], []):
        done = await start_waiting_legs(stage.database, stage.client, actor="test")
        assert list(done) == started
    beside = (await stage.legs())["sms"].flow_run_id
    await stage.ended(beside, "Failed")
    assert sum(stage.texts().values()) < MANY

    await stage.apply(*people)
    for key in (run.id, beside):
        await retry(stage.client, key)
        await stage.ended(key, "Completed", runs=2)
    assert (stage.mails(), stage.texts()) == (mails, texts)

    slower = {
        "throttle": "{per_second: 0.5}",
        "sms": f"{{block: {stage.tenant}-sms, from: ACME, throttle: {{per_second: 5}}}}",
    }
    await stage.apply(*people, **slower)
    run = await stage.client.create_flow_run_from_deployment(deployment)
    await wait_until(lambda: reached(stage.mails, MANY + 1))
    await wait_until(lambda: reached(stage.texts, MANY + 1))
    await cancel(stage.database, stage.client, f"{stage.tenant}/news", actor="test")
    await stage.ended(run.id, "Cancelled")
    legs = await stage.legs(run.id)
    await stage.ended(legs["sms"].flow_run_id, "Cancelled")
    for leg, arrived in ((legs["email"], stage.mails()), (legs["sms"], stage.texts())):
        counts = await open_ledger(stage.database).counts(reference_of(leg))
        assert leg.state == "cancelled"
        assert 0 < counts[MessageState.CANCELLED] < MANY
        assert sum(counts.values()) == MANY
        accepted = counts[MessageState.SENT] + counts[MessageState.DELIVERED]
        assert sum(arrived.values()) == MANY + accepted


async def retry(client: PrefectClient, flow_run_id: UUID | None) -> None:
    """What Retry does in the UI."""
    assert flow_run_id is not None
    await client.set_flow_run_state(flow_run_id, Scheduled(), force=True)


async def reached(arrived: Callable[[], Counter[str]], wanted: int) -> bool:
    return sum(arrived().values()) >= wanted
