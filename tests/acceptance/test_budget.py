"""A run that stops at its budget and goes on when it was raised, against a real Prefect server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from sqlmodel import select

from blocks import SmppGateway
from flows.campaign import campaign
from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.cli.budget_checks import check_budgets
from ignition_ext.costs.card import Price
from ignition_ext.costs.card_store import NewCard, import_card
from ignition_ext.database import Database
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.models import PriceKind
from ignition_ext.models.outcome import OutboxEvent
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import campaign_deployment, ensure_deployment
from ignition_ext.orchestration.raised_budgets import wake_for_raised_budgets
from ignition_ext.orchestration.reports import dry_run_report
from ignition_ext.orchestration.runs import run_status
from ignition_ext.settings import Settings
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant

pytestmark = pytest.mark.timeout(600)
PEOPLE = 12


class Stage:
    """A tenant with a text campaign, whose runs are carried out in this process."""

    def __init__(self, client: PrefectClient, database: Database, folder: Path, tenant: str):
        self.client, self.database, self.folder, self.tenant = client, database, folder, tenant

    async def apply(self, amount: str) -> None:
        definition = CampaignDefinition.model_validate(
            {
                "name": "news",
                "tenant": self.tenant,
                "channel": "sms",
                "audience": {"csv": "people.csv"},
                "template": "news",
                "block": f"{self.tenant}-sms",
                "from": "Acme",
                "budget": {"amount": amount, "currency": "EUR", "per": "run"},
            }
        )
        await store.apply(self.database, definition, base_path=self.folder, actor="test")
        spec = campaign_deployment(definition, timezone="UTC")
        self.deployment_id = (await ensure_deployment(self.client, spec)).id

    async def run(self, flow_run_id: UUID | None = None) -> FlowRun:
        """What a worker does with a new run, or with one that waited."""
        said = CampaignParameters(campaign=f"{self.tenant}/news")
        if flow_run_id is None:
            made = await self.client.create_flow_run_from_deployment(self.deployment_id)
        else:
            await self.client.set_flow_run_state(flow_run_id, Scheduled(), force=True)
            made = await self.client.read_flow_run(flow_run_id)
        with suppress(Pause):
            await run_flow(  # type: ignore[misc]  # a coroutine for an async flow
                campaign, flow_run=made, parameters={"parameters": said}, return_type="state"
            )
        return await self.client.read_flow_run(made.id)


@pytest.fixture
async def smsc() -> AsyncIterator[SmscSimulator]:
    async with SmscSimulator() as running:
        yield running


@pytest.fixture
async def stage(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    smsc: SmscSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    monkeypatch.setenv("IGNITION_PREFLIGHT", "never")  # it would refuse the run at once
    template = tmp_path / "news"
    template.mkdir()
    (template / "sms.txt").write_text("Hello {{ name }}")
    # Every second text is of two segments.
    rows = [
        f"+4917012345{number:02},{'x' * (200 if number % 2 else 5)}" for number in range(PEOPLE)
    ]
    (tmp_path / "people.csv").write_text("\n".join(["phone,name", *rows, ""]))
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    prices = [Price(kind=PriceKind.PREFIX, code="49", micros=75_000)]
    card = NewCard(currency="EUR", prices=prices)
    await import_card(database, tenant=tenant_name, card=card, actor="test")
    async with prefect_client() as client:
        gateway: Any = SmppGateway(
            host="127.0.0.1", port=smsc.port, system_id=smsc.system_id, password=smsc.password
        )
        await gateway.asave(f"{tenant_name}-sms", client=client)
        yield Stage(client, database, tmp_path, tenant_name)
    await database.close()


async def test_a_run_waits_at_its_budget_and_goes_on_when_it_is_raised(
    stage: Stage, smsc: SmscSimulator
) -> None:
    """Not a segment beyond it; the rest goes out once, and the report says what it cost."""
    await stage.apply("0.60")

    waiting = await stage.run()
    while "held for what is under way" in str(waiting.state and waiting.state.message):
        waiting = await stage.run(waiting.id)

    assert waiting.state_name == "AwaitingRetry"
    assert waiting.state is not None
    assert "budget of 0.60 EUR a run has no money" in str(waiting.state.message)
    assert 7 <= len(smsc.submits) <= 8
    status = await run_status(stage.database, str(waiting.id), computes_cost=True)
    assert status.counts["pending"] + status.counts["sent"] + status.counts["delivered"] == PEOPLE
    assert status.cost is not None
    assert status.cost["actual"]["micros"] == len(smsc.submits) * 75_000
    async with stage.database.read() as session:
        events = list(await session.exec(select(OutboxEvent.name)))
    assert "ignition.budget.exhausted" in events
    # No pre-flight went before, so it was estimated by its recipients, and said to be too dear.
    assert events.count("ignition.budget.short") == 1
    assert status.cost["estimate"]["amount"] == "0.90"
    assert status.cost["estimate"]["basis"] == "least"
    (check,) = await check_budgets(Settings())
    assert "is used up" in check.detail

    assert await wake_for_raised_budgets(stage.database, stage.client) == {}
    await stage.apply("1.35")
    assert list((await wake_for_raised_budgets(stage.database, stage.client)).values()) == [
        "goes on: its budget was raised"
    ]
    woken = await stage.client.read_flow_run(waiting.id)
    assert woken.state is not None
    assert woken.state.message == "resumed"
    assert await wake_for_raised_budgets(stage.database, stage.client) == {}
    done = await stage.run(waiting.id)

    assert done.state_name == "Completed"
    assert len(smsc.submits) == PEOPLE * 3 // 2
    status = await run_status(stage.database, str(done.id))
    assert status.cost is not None
    assert status.cost["actual"]["amount"] == "1.35"
    report = await dry_run_report(stage.client, done.id)
    assert "| Cost | 1.35 EUR by rate card 1, estimated 0.90 EUR (at least: " in report
    (check,) = await check_budgets(Settings())
    assert check.detail == "none is used up"
