"""A newer run of a campaign takes an older one's place, each in a worker of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Cancelling
from sqlmodel import select

from blocks import SmtpServer
from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer, WarmWorker
from ignition_ext.models import CampaignRun, Message
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import campaign_deployment, ensure_deployment
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant

pytestmark = pytest.mark.timeout(900)
PEOPLE = 5_000
"""At one message a second nobody gets through them within the test."""
WAIT_SECONDS = 200.0


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Look until it holds."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.2)


async def prepare(client: PrefectClient, database: Database, folder: Path, tenant: str) -> UUID:
    """A campaign that takes long and cancels what is under way; its deployment, in its own pool."""
    template = folder / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News")
    (template / "body.txt").write_text("Hello")
    people = "\n".join(f"person{number}@people.example" for number in range(PEOPLE))
    (folder / "people.csv").write_text(f"email\n{people}\n")
    await create_tenant(database, name=tenant, actor="test")
    await push(database, tenant=tenant, folder=template, actor="test", publish=True)
    definition = CampaignDefinition.model_validate(
        {
            "name": "news",
            "tenant": tenant,
            "channel": "email",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": f"{tenant}-mail",
            "from": "Acme <news@acme.example>",
            "throttle": {"per_second": 1},
            "on_overlap": "cancel_running",
        }
    )
    await store.apply(database, definition, base_path=folder, actor="test")
    pool = f"pool-{uuid4().hex[:8]}"
    await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    spec = replace(campaign_deployment(definition, timezone="UTC"), pool=pool)
    return (await ensure_deployment(client, spec)).id


async def test_a_newer_run_cancels_the_one_that_another_worker_sends(
    prefect: PrefectServer, sqlite_database_url: str, tmp_path: Path, tenant_name: str
) -> None:
    """Its messages that were not sent are cancelled, and the newer one's go out."""
    database = Database(sqlite_database_url)

    async def states(flow_run_id: UUID) -> tuple[str, set[str]]:
        async with database.read() as session:
            query = select(CampaignRun).where(CampaignRun.flow_run_id == flow_run_id)
            run = (await session.exec(query)).one_or_none()
            if run is None:
                return "", set()
            found = select(Message.state).where(Message.run_id == run.id).distinct()
            return run.state, set(await session.exec(found))

    async def is_sending(flow_run_id: UUID) -> bool:
        state, messages = await states(flow_run_id)
        return state == "open" and "sent" in messages

    async def has_ended(flow_run_id: UUID) -> bool:
        state = (await client.read_flow_run(flow_run_id)).state
        return state is not None and state.is_final()

    async with prefect_client() as client, CaptureSmtpServer() as smtp:
        deployment = await prepare(client, database, tmp_path, tenant_name)
        block = SmtpServer(host="127.0.0.1", port=smtp.port, security="none")
        await block.asave(f"{tenant_name}-mail", client=client)
        pool = (await client.read_deployment(deployment)).work_pool_name
        assert pool is not None
        environment = {"IGNITION_DATABASE_URL": sqlite_database_url, "IGNITION_PREFLIGHT": "never"}
        workers = [WarmWorker(prefect, pool, environment=environment, limit=1) for _ in range(2)]
        try:
            await asyncio.gather(*(asyncio.to_thread(worker.start) for worker in workers))
            older = (await client.create_flow_run_from_deployment(deployment)).id
            await until(lambda: is_sending(older))
            newer = (await client.create_flow_run_from_deployment(deployment)).id

            await until(lambda: is_sending(newer))
            await until(lambda: has_ended(older))

            ended = (await client.read_flow_run(older)).state
            assert ended is not None
            assert ended.is_cancelled()
            state, messages = await states(older)
            assert state == "cancelled"
            assert "cancelled" in messages
            assert messages <= {"sent", "cancelled", "uncertain"}
            assert not await has_ended(newer)
            await client.set_flow_run_state(newer, Cancelling())
            await until(lambda: has_ended(newer))
        finally:
            await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in workers))
            await database.close()
