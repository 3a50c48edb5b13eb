"""Runs of schedules with a condition or a rule for what was missed, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from sqlmodel import select

from blocks import SmtpServer
from flows.campaign import campaign
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.store import apply
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.models import CampaignRun, Message
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from tasks.await_time import AHEAD

pytestmark = pytest.mark.timeout(600)
LATE = timedelta(hours=30)


@dataclass
class Stage:
    """A tenant with a template, an audience of two, and a server that takes its messages."""

    client: PrefectClient
    database: Database
    folder: Path
    tenant: str
    smtp: CaptureSmtpServer

    async def apply(self, schedule: dict[str, Any]) -> None:
        definition = CampaignDefinition.model_validate(
            {
                "name": "news",
                "tenant": self.tenant,
                "channel": "email",
                "audience": {"csv": "people.csv"},
                "template": "news",
                "block": f"{self.tenant}-mail",
                "from": "Acme <news@acme.example>",
                "schedules": [schedule],
            }
        )
        await apply(self.database, definition, base_path=self.folder, actor="test")

    async def run(
        self, slug: str | None = "cron-1", *, at: datetime | None = None
    ) -> tuple[Any, State[Any]]:
        """A flow run of that schedule that is due at that time, carried out now."""
        wanted = CampaignParameters(campaign=f"{self.tenant}/news", schedule=slug)
        flow_run = await self.client.create_flow_run(
            campaign, parameters={"parameters": wanted}, state=Scheduled(scheduled_time=at)
        )
        return flow_run, await self.carry_out(flow_run.id)

    async def carry_out(self, flow_run_id: Any) -> State[Any]:
        flow_run = await self.client.read_flow_run(flow_run_id)
        given = CampaignParameters.model_validate(flow_run.parameters["parameters"])
        state = await run_flow(  # type: ignore[misc]  # a coroutine, for the flow is one
            campaign, flow_run=flow_run, parameters={"parameters": given}, return_type="state"
        )
        assert isinstance(state, State)
        return state

    async def rows(self) -> list[CampaignRun]:
        async with self.database.read() as session:
            return list(await session.exec(select(CampaignRun)))


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
        "email,name,country\nada@example.com,Ada,DE\nbob@example.com,Bob,US\n"
    )
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client, CaptureSmtpServer() as smtp:
        server = SmtpServer(host="127.0.0.1", port=smtp.port, security="none")
        await server.asave(f"{tenant_name}-mail", client=client)
        yield Stage(client, database, tmp_path, tenant_name, smtp)
    await database.close()


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"variable": "VARIABLE", "equals": "open"}, "is 'closed', not 'open'"),
        ({"where": "country = 'FR'"}, "0 recipients for whom country = 'FR'"),
        ({"all": [{"min_audience": 2}, {"min_audience": 3}]}, "2 recipients, 3 are needed"),
        ({"file": "ready.txt"}, "no file ready.txt"),
    ],
    ids=["variable", "where", "all", "file"],
)
async def test_a_run_whose_condition_does_not_hold_is_skipped(
    stage: Stage, condition: dict[str, Any], reason: str
) -> None:
    """It says why and is kept with its reason."""
    if "variable" in condition:
        name = f"gate-{stage.tenant}"
        await stage.client.create_variable(VariableCreate(name=name, value="closed"))
        condition = {**condition, "variable": name}
    await stage.apply({"cron": "0 8 * * *", "condition": condition})

    _, state = await stage.run()

    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert reason in (state.message or "")
    (row,) = await stage.rows()
    assert (row.state, row.state_reason) == ("skipped", state.message)
    assert stage.smtp.received == 0


async def test_a_run_whose_condition_holds_sends(stage: Stage) -> None:
    """And a run by hand sends whatever the condition says."""
    (stage.folder / "ready.txt").write_text("")
    asked = {"all": [{"file": "ready.txt"}, {"where": "country = 'DE'"}, {"min_audience": 2}]}
    await stage.apply({"cron": "0 8 * * *", "condition": asked})

    _, state = await stage.run()
    assert (state.name, state.message) == ("Completed", "2 sent")

    (stage.folder / "ready.txt").unlink()
    _, state = await stage.run(None)
    assert state.name == "Completed"


async def test_a_condition_that_cannot_be_told_fails_the_run(stage: Stage) -> None:
    """Nothing is sent on a guess; after it was mended, a retry is not asked again."""
    await stage.apply({"cron": "0 8 * * *", "condition": {"variable": f"no-{stage.tenant}"}})

    flow_run, state = await stage.run()
    assert state.is_failed()
    assert "there is none" in (state.message or "")
    assert stage.smtp.received == 0

    await stage.client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
    state = await stage.carry_out(flow_run.id)
    assert (state.name, state.message) == ("Completed", "2 sent")


@pytest.mark.parametrize(
    ("misfire", "cron", "sends"),
    [
        ("skip", "0 8 * * *", False),
        ("run_once", "0 * * * *", False),
        ("run_once", "0 0 29 2 *", True),
        ("run_all", "0 * * * *", True),
    ],
)
async def test_a_run_that_comes_too_late_follows_the_rule(
    stage: Stage, misfire: str, cron: str, sends: bool
) -> None:
    """Of those that were missed all, the newest, or none are made up for."""
    await stage.apply({"cron": cron, "misfire": misfire})

    _, state = await stage.run(at=datetime.now(UTC) - LATE)

    (row,) = await stage.rows()
    assert (state.name == "Completed", row.state == "completed") == (sends, sends)
    if not sends:
        assert state.name == "Skipped"
        assert row.state_reason.startswith("missed: due ")


async def test_grace_says_what_is_too_late(stage: Stage) -> None:
    """Within it nothing was missed."""
    await stage.apply({"cron": "0 8 * * *", "misfire": "skip", "grace": "2d"})

    _, state = await stage.run(at=datetime.now(UTC) - LATE)

    assert state.name == "Completed"


async def test_a_run_sends_nothing_before_its_time(stage: Stage) -> None:
    """Not by this node's clock, nor by the database's."""
    await stage.apply({"cron": "0 8 * * *"})
    at = datetime.now(UTC) + timedelta(seconds=5)

    flow_run, state = await stage.run(at=at)

    assert flow_run.created < at - AHEAD, "made so late that it was meant for at once"
    assert state.name == "Completed"
    (row,) = await stage.rows()
    assert row.run_at >= at - AHEAD, "it may be made ready a little before"
    async with stage.database.read() as session:
        sent = [message.sent_at for message in await session.exec(select(Message))]
    assert all(one is not None and one >= at for one in sent)
