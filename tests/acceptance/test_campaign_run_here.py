"""Runs of the flow in this process, against a real Prefect server: endings that need no worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import State
from sqlmodel import SQLModel, select

from blocks import SmppGateway, SmtpServer
from flows.campaign import campaign
from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.store import apply
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.runs import close_run
from ignition_ext.models import AuditLog, BindSlot, CampaignRun, Circuit, Message, RateBudget
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.mirror import reference_of
from ignition_ext.orchestration.redrive import Redriven, redrive, start_redriven
from ignition_ext.orchestration.reports import dry_run_report
from ignition_ext.orchestration.runs import run_status
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant, set_tenant_setting
from ignition_ext.values import RunState

pytestmark = pytest.mark.timeout(600)
Command = Any


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
    assert await stage.runs() == []


async def test_a_wrong_password_fails_the_run_before_it_begins(stage: Stage) -> None:
    """The server's name and the mend are in the UI; the same run goes on once it is corrected."""
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
        assert await stage.runs() == []
        assert (smtp.logins, smtp.received) == (1, 0)
        await mail(stage, smtp.port, username="acme", password="right")
        assert (await stage.run()).message == "2 sent"


async def test_a_dry_run_renders_everything_and_touches_nothing(stage: Stage) -> None:
    """The server is asked, and gets nothing."""
    async with CaptureSmtpServer() as smtp:
        await mail(stage, smtp.port)
        await stage.apply()
        state = await stage.run(dry_run=True)

        assert (smtp.connections, smtp.received) == (1, 0)
    assert (state.name, state.message) == ("Completed", "dry run: would send 2")
    assert state.state_details.flow_run_id is not None
    report = await dry_run_report(stage.client, state.state_details.flow_run_id)
    assert report.startswith(f"# {stage.tenant}/news: would send 2")
    assert "Hello Bob" in report
    assert await stage.runs() == []
    async with stage.database.read() as session:
        assert (await session.exec(select(Message))).first() is None


async def test_only_the_first_run_of_a_version_is_checked(stage: Stage) -> None:
    """Later runs begin at once; what is wrong with their audience they find as they go."""
    async with CaptureSmtpServer() as smtp:
        await mail(stage, smtp.port)
        await stage.apply(headers={"X-Version": "1"})
        first = await stage.run()
        stage.write_people("ada@example.com,,Ada", *["not an address,,B"] * 9)
        again = await stage.run()
        await stage.apply(headers={"X-Version": "2"})
        changed = await stage.run()

    assert (first.message, again.message) == ("2 sent", "1 sent")
    assert changed.is_failed()
    assert "9 of 10 rows (90.0 %) are no recipient" in (changed.message or "")


async def test_a_dry_run_that_would_be_refused_fails(stage: Stage) -> None:
    """Whoever waits for it is told by its state."""
    await mail(stage, free_port())
    await stage.apply()
    state = await stage.run(dry_run=True)

    assert state.is_failed()
    assert (state.message or "").startswith("dry run: refused: 127.0.0.1:")


async def test_a_campaign_of_another_environment_is_skipped(stage: Stage) -> None:
    """It is no failure, and it says which environments it is for."""
    await stage.apply(environments=["prod"])
    state = await stage.run()

    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert "prod" in (state.message or "")
    (run,) = await stage.runs()
    assert (run.state, run.prefect_state) == ("skipped", "Skipped")
    assert run.state_reason == state.message
    assert run.ended_at is not None
    status = await run_status(stage.database, f"{stage.tenant}/news")
    assert (status.state, status.counts["total"]) == ("skipped", 0)


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


async def mail(stage: Stage, port: int, **fields: Any) -> None:
    server = SmtpServer(host="127.0.0.1", port=port, security="none", **fields)
    await server.asave(f"{stage.tenant}-mail", client=stage.client, overwrite=True)


async def test_every_rate_is_kept_in_the_shared_database(stage: Stage) -> None:
    """The server's, the tenant's, the campaign's and each domain's; all arrive."""
    stage.write_people(*(f"p{n}@{d}.example,,P" for n in range(3) for d in ("x", "y")))
    await set_tenant_setting(
        stage.database, tenant=stage.tenant, key="throttle.per_second", value=500, actor="test"
    )
    async with CaptureSmtpServer() as server:
        await mail(stage, server.port, rate=400)
        await stage.apply(throttle={"per_second": 300, "per_domain": 200})
        state = await stage.run()

        assert (state.name, state.message) == ("Completed", "6 sent")
        assert server.received == 6
    async with stage.database.read() as session:
        lines = {line.key: line.rate for line in await session.exec(select(RateBudget))}
    assert lines == {
        f"server:127.0.0.1:{server.port}": 400,
        f"tenant:{stage.tenant}": 500,
        f"campaign:{stage.tenant}/news": 300,
        f"domain:{stage.tenant}/news:x.example": 200,
        f"domain:{stage.tenant}/news:y.example": 200,
    }


async def test_a_patient_run_waits_for_a_server_that_is_down(stage: Stage) -> None:
    """It says so, and goes on by itself when the server is there again."""
    port = free_port()
    await mail(stage, port, connect_timeout=2)
    await stage.apply(delivery={"patience": "1h"})
    run = asyncio.create_task(stage.run())
    await until(lambda: has_row(stage, Circuit))
    async with CaptureSmtpServer(port=port) as server:
        state = await run

        assert (state.name, state.message) == ("Completed", "2 sent")
        assert server.received == 2
    assert not await has_row(stage, Circuit)


async def test_a_broken_server_is_left_alone_until_it_is_reset(
    stage: Stage, ignition: Callable[..., Any]
) -> None:
    """After three runs nobody asks it; doctor and list say so; a reset lets the next one in."""
    port = free_port()
    await mail(stage, port, connect_timeout=2)
    await stage.apply()
    for _ in range(3):
        assert (await stage.run()).is_failed()
    async with CaptureSmtpServer(port=port) as server:
        state = await stage.run()
        assert state.is_failed()
        assert "left alone" in (state.message or "")
        assert f"ignition server reset 127.0.0.1:{port}" in (state.message or "")
        assert server.connections == 0

        listed = await asyncio.to_thread(ignition, "server", "list", "--json")
        assert [(row["server"], row["state"]) for row in listed.document] == [
            (f"127.0.0.1:{port}", "open")
        ]
        checks = (await asyncio.to_thread(ignition, "doctor", "--json")).document["checks"]
        (check,) = [one for one in checks if one["name"] == f"server 127.0.0.1:{port}"]
        assert check["verdict"] == "failed"
        reset = await asyncio.to_thread(ignition, "server", "reset", f"127.0.0.1:{port}")
        assert reset.code == 0
        assert (await stage.run()).is_completed()


async def test_a_run_waits_for_a_bind_that_others_hold(stage: Stage) -> None:
    """It shows for whom it waits, and sends when the bind is free."""
    async with SmscSimulator() as smsc:
        gateway = SmppGateway(
            host="127.0.0.1", port=smsc.port, system_id=smsc.system_id, password=smsc.password
        )
        await gateway.asave(f"{stage.tenant}-sms", client=stage.client)
        await stage.apply(channel="sms", block=f"{stage.tenant}-sms", **{"from": "Acme"})
        slots = Slots(stage.database)
        other = Claimant(account=gateway.bind_name, allowed=1, owner="globex/news on node-2")
        holder = await slots.take(other, timedelta(minutes=5))
        assert isinstance(holder, UUID)
        run = asyncio.create_task(stage.run())
        key = f"progress-{stage.tenant}-news"
        await until(lambda: shows(stage, key, "1 of 1 in use by globex/news on node-2"))
        assert smsc.bind_attempts == 0
        await slots.leave(gateway.bind_name, holder)
        state = await run

        assert (state.name, state.message) == ("Completed", "2 delivered")
    assert not await has_row(stage, BindSlot)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  it happens in a server or another thread
            await asyncio.sleep(0.1)


async def has_row(stage: Stage, table: type[SQLModel]) -> bool:
    async with stage.database.read() as session:
        return (await session.exec(select(table).limit(1))).first() is not None


async def shows(stage: Stage, key: str, words: str) -> bool:
    artifacts = await stage.client.read_latest_artifacts(
        artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
    )
    return any(words in (artifact.description or "") for artifact in artifacts)


@pytest.fixture
async def refused(stage: Stage) -> CampaignRun:
    """A run that is over, and one of its two messages was refused."""
    async with CaptureSmtpServer() as smtp:
        block = SmtpServer(host="127.0.0.1", port=smtp.port, security="none")
        await block.asave(f"{stage.tenant}-mail", client=stage.client)
        stage.write_people("ada@example.com,,Ada", "reject-550@example.com,,Bob")
        await stage.apply()
        await stage.run()
    (run,) = await stage.runs()
    return run


async def test_what_failed_is_listed_and_redriven(
    stage: Stage, ignition: Command, refused: CampaignRun
) -> None:
    """Once the reason is mended: the messages are pending again, and Prefect starts the run."""
    assert await stage.counts() == {"sent": 1, "failed": 1}
    named = ("--run", f"{stage.tenant}/news", "--json")

    listed = await asyncio.to_thread(ignition, "messages", "failed", *named)
    other = await asyncio.to_thread(ignition, "messages", "redrive", *named, "--class", "policy")
    assert await stage.counts() == {"sent": 1, "failed": 1}
    done = await asyncio.to_thread(ignition, "messages", "redrive", *named, "--class", "address")

    (group,) = listed.document
    assert (group["class"], group["messages"], group["redrivable"]) == ("address", 1, 1)
    assert (other.document["messages"], other.document["started"]) == (0, False)
    assert (done.document["messages"], done.document["started"]) == (1, True)
    assert await stage.counts() == {"sent": 1, "pending": 1}
    assert refused.flow_run_id is not None
    flow_run = await stage.client.read_flow_run(refused.flow_run_id)
    assert flow_run.state_name == "Scheduled"
    async with stage.database.read() as session:
        actions = list(await session.exec(select(AuditLog.action)))
    assert actions.count("run.redriven") == 1


async def test_a_redrive_that_was_cut_off_is_said_again(
    stage: Stage, refused: CampaignRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger had it and Prefect was away: the second time nothing fails any more to revive."""

    async def again() -> Redriven:
        who = {"failure_class": None, "actor": "ann"}
        return await redrive(stage.database, stage.client, str(refused.id), **who)

    async def away(*_state: Any, **_more: Any) -> None:
        raise httpx.ConnectError("all connection attempts failed")

    with monkeypatch.context() as patch:
        patch.setattr(stage.client, "set_flow_run_state", away)
        with pytest.raises(httpx.ConnectError):
            await again()
    assert await stage.counts() == {"sent": 1, "pending": 1}

    done = await again()

    assert (done.messages, done.started) == (0, True)
    assert refused.flow_run_id is not None
    flow_run = await stage.client.read_flow_run(refused.flow_run_id)
    assert flow_run.state_name == "Scheduled"
    assert not (await again()).started, "it waits for a worker now"


async def test_what_was_redriven_while_its_run_was_closed_is_sent(
    stage: Stage, refused: CampaignRun
) -> None:
    """The redrive found the run running, and its last look was over; reconcile starts it once."""
    ref, ledger = reference_of(refused), open_ledger(stage.database)
    who = {"within": timedelta(days=1), "limit": 9, "actor": "reconcile"}
    assert await start_redriven(stage.database, stage.client, **who) == {}
    await ledger.redrive(ref, actor="ann")
    await close_run(stage.database, ref, RunState.COMPLETED, "closed", await ledger.counts(ref))

    assert list(await start_redriven(stage.database, stage.client, **who)) == [
        refused.flow_run_name
    ]
    assert await start_redriven(stage.database, stage.client, **who) == {}
    assert refused.flow_run_id is not None
    flow_run = await stage.client.read_flow_run(refused.flow_run_id)
    assert flow_run.state_name == "Scheduled"


@pytest.mark.parametrize("by", ["class", "code", "domain"])
async def test_dead_letters_are_grouped(stage: Stage, ignition: Command, by: str) -> None:
    """Each grouping counts each message that did not get through once."""
    async with CaptureSmtpServer() as smtp:
        block = SmtpServer(host="127.0.0.1", port=smtp.port, security="none")
        await block.asave(f"{stage.tenant}-mail", client=stage.client)
        stage.write_people(
            "ada@example.com,,Ada", "reject-550@example.com,,Bob", "reject-550@example.org,,Eve"
        )
        await stage.apply()
        await stage.run()

    listed = await asyncio.to_thread(
        ignition, "messages", "failed", "--run", f"{stage.tenant}/news", "--by", by, "--json"
    )
    assert sum(group["messages"] for group in listed.document) == 2
    assert len(listed.document) == (2 if by == "domain" else 1)
    assert all(group[by] and group["example"] for group in listed.document)
