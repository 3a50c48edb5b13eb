"""Runs of the flow in this process, against a real Prefect server: endings that need no worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from sqlmodel import select

from blocks import SmppGateway, SmtpServer
from flows.campaign import campaign
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.store import apply
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.ledger import open_ledger
from ignition_ext.models import CampaignRun, Message
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.mirror import reference_of
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant

pytestmark = pytest.mark.timeout(240)


@dataclass
class Stage:
    """A tenant with a template for both channels, and an audience."""

    client: PrefectClient
    database: Database
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
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await apply(self.database, definition, base_path=self.folder, actor="test")

    def write_people(self, *rows: str) -> None:
        (self.folder / "people.csv").write_text("\n".join(["email,phone,name", *rows, ""]))

    async def run(self, **parameters: Any) -> State[Any]:
        wanted = CampaignParameters(campaign=f"{self.tenant}/news", **parameters)
        return await campaign(wanted, return_state=True)

    async def runs(self) -> list[CampaignRun]:
        async with self.database.read() as session:
            return list(await session.exec(select(CampaignRun)))

    async def counts(self) -> dict[str, int]:
        (run,) = await self.runs()
        counts = await open_ledger(self.database).counts(reference_of(run))
        return {state.value: count for state, count in counts.items() if count}


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
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News for {{ name }}")
    (template / "body.txt").write_text("Hello {{ name }}")
    (template / "sms.txt").write_text("Hello {{ name }}")
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, region="DE", actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client:
        made = Stage(client, database, tmp_path, tenant_name)
        made.write_people("ada@example.com,0170 1234567,Ada", "bob@example.com,0170 1234568,Bob")
        yield made
    await database.close()


async def test_a_text_message_run_ends_when_its_receipts_have_come(stage: Stage) -> None:
    """The receipts of the last batch are still taken on the same bind."""
    async with SmscSimulator() as smsc:
        gateway = SmppGateway(
            host="127.0.0.1", port=smsc.port, system_id=smsc.system_id, password=smsc.password
        )
        await gateway.asave(f"{stage.tenant}-sms", client=stage.client)
        await stage.apply(channel="sms", block=f"{stage.tenant}-sms", **{"from": "Acme"})
        state = await stage.run()

        assert (state.name, state.message) == ("Completed", "2 delivered")
        assert await stage.counts() == {"delivered": 2}
        assert len(smsc.submits) == 2


async def test_a_missing_block_fails_the_run_and_changes_nothing(stage: Stage) -> None:
    """The message in the UI names the block and where to make it; no run is opened."""
    await stage.apply(block="nowhere")
    state = await stage.run()

    assert state.is_failed()
    assert state.message is not None
    assert "ignition-smtp-server/nowhere" in state.message
    assert "Create it in the UI" in state.message
    assert await stage.runs() == []


async def test_a_template_that_wants_more_than_the_audience_has_fails_before_sending(
    stage: Stage,
) -> None:
    """The missing column is named; nothing is stored."""
    (stage.folder / "news" / "body.txt").write_text("Hello {{ name }} of {{ city }}")
    await push(
        stage.database,
        tenant=stage.tenant,
        folder=stage.folder / "news",
        actor="test",
        publish=True,
    )
    await SmtpServer(host="127.0.0.1", port=1, security="none").asave(
        f"{stage.tenant}-mail", client=stage.client
    )
    await stage.apply()
    state = await stage.run()

    assert state.is_failed()
    assert "city" in (state.message or "")
    assert await stage.runs() == []


async def test_an_empty_audience_fails_with_its_reason(stage: Stage) -> None:
    """Nobody to write to is a mistake to be told, not a success."""
    await SmtpServer(host="127.0.0.1", port=1, security="none").asave(
        f"{stage.tenant}-mail", client=stage.client
    )
    stage.write_people(",0170 1234567,Ada")
    await stage.apply()
    state = await stage.run()

    assert state.is_failed()
    assert "nobody to write to by email" in (state.message or "")
    (run,) = await stage.runs()
    assert run.state == "failed"
    assert "nobody to write to" in run.state_reason


async def test_a_wrong_password_fails_the_run_and_leaves_everything_sendable(
    stage: Stage,
) -> None:
    """The server's name and the mend are in the UI; no message is touched."""
    async with CaptureSmtpServer(users={"acme": "right"}) as smtp:
        block = SmtpServer(
            host="127.0.0.1", port=smtp.port, security="none", username="acme", password="wrong"
        )
        await block.asave(f"{stage.tenant}-mail", client=stage.client)
        await stage.apply()
        state = await stage.run()

        assert state.is_failed()
        assert (state.message or "").startswith("AuthenticationFailed: ")
        assert f"127.0.0.1:{smtp.port}" in (state.message or "")
        assert await stage.counts() == {"pending": 2}
        assert smtp.received == 0


async def test_a_dry_run_renders_everything_and_touches_nothing(stage: Stage) -> None:
    """The server need not even be there."""
    await SmtpServer(host="127.0.0.1", port=free_port(), security="none").asave(
        f"{stage.tenant}-mail", client=stage.client
    )
    await stage.apply()
    state = await stage.run(dry_run=True)

    assert (state.name, state.message) == ("Completed", "dry run: would send 2")
    assert await stage.runs() == []
    async with stage.database.read() as session:
        assert (await session.exec(select(Message))).first() is None


async def test_a_campaign_of_another_environment_is_skipped(stage: Stage) -> None:
    """It is no failure, and it says which environments it is for."""
    await stage.apply(environments=["prod"])
    state = await stage.run()

    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert "prod" in (state.message or "")
    assert await stage.runs() == []


async def test_a_limit_sends_to_so_many_and_no_more(stage: Stage) -> None:
    """A trial of one reaches one person."""
    async with CaptureSmtpServer() as smtp:
        await SmtpServer(host="127.0.0.1", port=smtp.port, security="none").asave(
            f"{stage.tenant}-mail", client=stage.client
        )
        await stage.apply()
        state = await stage.run(limit=1)

        assert (state.name, state.message) == ("Completed", "1 sent")
        assert smtp.received == 1
