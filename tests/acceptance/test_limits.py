"""Limits of a run, in this process against a real Prefect server: overlap, time, slots."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.concurrency.asyncio import concurrency
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from sqlmodel import select

from blocks import SmtpServer
from flows.campaign import campaign
from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.ledger.run_rows import RunRequest
from ignition_ext.ledger.runs import open_run
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import campaign_deployment, ensure_deployment
from ignition_ext.orchestration.runs import run_status
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant, set_tenant_setting

pytestmark = pytest.mark.timeout(600)


class Stage:
    """A tenant with one campaign, of which runs are made by its deployment and run here."""

    def __init__(self, client: PrefectClient, database: Database, folder: Path, tenant: str):
        self.client, self.database, self.folder, self.tenant = client, database, folder, tenant

    async def apply(self, **changes: Any) -> None:
        said: dict[str, Any] = {
            "name": "news",
            "tenant": self.tenant,
            "channel": "email",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": f"{self.tenant}-mail",
            "from": "Acme <news@acme.example>",
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await store.apply(self.database, definition, base_path=self.folder, actor="test")
        spec = campaign_deployment(definition, timezone="UTC")
        self.deployment_id = (await ensure_deployment(self.client, spec)).id

    async def run(self, flow_run_id: UUID | None = None) -> FlowRun:
        """What a worker does with a new run, or with one that was retried."""
        said = CampaignParameters(campaign=f"{self.tenant}/news")
        if flow_run_id is None:
            made = await self.client.create_flow_run_from_deployment(self.deployment_id)
        else:
            await self.client.set_flow_run_state(flow_run_id, Scheduled(), force=True)
            made = await self.client.read_flow_run(flow_run_id)
        with suppress(Pause):  # the run was put off
            await run_flow(  # type: ignore[misc]  # a coroutine for an async flow
                campaign, flow_run=made, parameters={"parameters": said}, return_type="state"
            )
        return await self.client.read_flow_run(made.id)

    async def other_run(self) -> UUID:
        """A run of the campaign that is under way elsewhere."""
        async with self.database.read() as session:
            stored = await store.load(session, f"{self.tenant}/news")
        assert stored.campaign.id is not None
        request = RunRequest(
            tenant_id=stored.campaign.tenant_id,
            campaign_id=stored.campaign.id,
            campaign_version=stored.version,
            flow_run_id=uuid4(),
            flow_run_name="the other one",
            scheduled_at=datetime.now(UTC),
        )
        return (await open_run(self.database, request, actor="test")).ref.id

    async def states(self) -> dict[UUID | None, str]:
        async with self.database.read() as session:
            return {row.id: row.state for row in await session.exec(select(CampaignRun))}


@pytest.fixture
async def stage(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News for {{ name }}")
    (template / "body.txt").write_text("Hello {{ name }}")
    (tmp_path / "people.csv").write_text(
        "email,name\nann@people.example,Ann\nbob@people.example,Bob\n"
    )
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client, CaptureSmtpServer() as smtp:
        await SmtpServer(host="127.0.0.1", port=smtp.port, security="none").asave(
            f"{tenant_name}-mail", client=client
        )
        yield Stage(client, database, tmp_path, tenant_name)
    await database.close()


async def test_a_run_that_would_overlap_is_skipped(stage: Stage) -> None:
    """With the reason, and counted; the one under way goes on."""
    await stage.apply(on_overlap="skip")
    other = await stage.other_run()
    run = await stage.run()

    assert run.state is not None
    assert (run.state.name, run.state.message) == (
        "Skipped",
        "the run the other one is under way",
    )
    states = await stage.states()
    assert states.pop(other) == "open"
    assert list(states.values()) == ["skipped"]


async def test_a_run_that_would_overlap_cancels_the_other(stage: Stage) -> None:
    """In the ledger first, where its senders look."""
    await stage.apply(on_overlap="cancel_running")
    other = await stage.other_run()
    run = await stage.run()

    assert run.state_name == "Completed"
    states = await stage.states()
    assert states.pop(other) == "cancelled"
    assert list(states.values()) == ["completed"]


async def test_a_time_limit_ends_the_run_and_a_retry_sends_the_rest(stage: Stage) -> None:
    """What was not sent stays sendable; nothing is sent twice."""
    await stage.apply(time_limit="1ms")
    run = await stage.run()
    assert run.state is not None
    assert run.state.is_failed()
    assert (run.state.message or "").startswith("TimeLimitReached: the run took as long as ")
    status = await run_status(stage.database, str(run.id))
    assert status.state == "failed"
    assert status.counts["pending"] == 2

    await stage.apply()
    again = await stage.run(run.id)
    assert again.state_name == "Completed"
    assert (await run_status(stage.database, str(run.id))).counts["sent"] == 2


async def test_runs_of_a_tenant_wait_for_its_slots(stage: Stage) -> None:
    """Without holding a worker's slot meanwhile; what a campaign names has to be there."""
    await stage.apply()
    await set_tenant_setting(
        stage.database, tenant=stage.tenant, key="concurrency.runs", value=1, actor="test"
    )
    limit = f"ignition-tenant-{stage.tenant}"
    await stage.client.upsert_global_concurrency_limit_by_name(limit, 1)
    async with concurrency(limit, strict=True):
        run = await stage.run()
        assert run.state is not None
        assert (run.state.name, run.state.message) == (
            "AwaitingRetry",
            f"waits for a slot of {limit}",
        )
        assert await stage.states() == {}
    again = await stage.run(run.id)
    assert again.state_name == "Completed"

    await stage.apply(concurrency=["nowhere"])
    failed = await stage.run()
    assert failed.state is not None
    assert "there is no concurrency limit 'nowhere'" in (failed.state.message or "")
