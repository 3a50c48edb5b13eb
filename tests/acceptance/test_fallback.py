"""Campaigns with a fallback: text messages for exactly those whose email did not get through."""

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
from sqlalchemy import text
from sqlmodel import select

from blocks import SmppGateway, SmtpServer
from flows.campaign import campaign
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.consent import SuppressionReason, suppress
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.stack import PrefectServer, PrefectWorker
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.apply import carry_out, plan
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import ENTRYPOINT, FLOW
from ignition_ext.orchestration.runs import run_status
from ignition_ext.returns.mail import MailDesk
from ignition_ext.returns.mail_rows import IncomingMail
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel
from tasks.fall_back import fall_back_late
from tasks.start_companion import start_legs

pytestmark = pytest.mark.timeout(900)

PEOPLE = """\
email,phone,name
ok@example.com,+491701234501,Ada
reject-550.bob@example.com,+491701234502,Bob
defer-451.cid@example.com,+491701234503,Cid
reject-550.dea@example.com,,Dea
reject-550.eve@example.com,+491701234502,Eve
late@example.com,+491701234505,Fay
reject-550.gus@example.com,+491701234506,Gus
content-reject-554.hal@example.com,+491701234507,Hal
,+491701234508,Ida
"""
CAMPAIGN = """\
name: news
tenant: {tenant}
channel: fallback
audience: {{csv: people.csv}}
template: news
block: {tenant}-mail
from: Acme <news@acme.example>
sms: {{block: {tenant}-sms, from: ACME}}
fallback: {{after: 4h, within: 3d}}
retry: {{strategy: fixed, attempts: 100, base: 1s, max: 1s}}
"""
BOUNCE = """\
From: MAILER-DAEMON@mx.example.net
To: news@acme.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; late@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: text/rfc822-headers

{header}
--b--
"""


@dataclass
class Stage:
    """A campaign, a mail server that refuses as addresses ask, and an SMSC."""

    client: PrefectClient
    database: Database
    smtp: CaptureSmtpServer
    smsc: SmscSimulator
    tenant: str
    deployment: UUID
    environment: dict[str, str]

    @property
    def reference(self) -> str:
        return f"{self.tenant}/news"

    def mails(self) -> Counter[str]:
        return Counter(one.recipients[0] for one in self.smtp.accepted)

    def texts(self) -> Counter[str]:
        return Counter(one.destination.removeprefix("4917012345") for one in self.smsc.submits)

    async def legs(self) -> dict[str, CampaignRun]:
        async with self.database.read() as session:
            rows = list(await session.exec(select(CampaignRun)))
        assert len({row.channel for row in rows}) == len(rows)
        return {row.channel: row for row in rows}

    async def states(self) -> dict[str, str]:
        """The emails' states by the address before its at sign."""
        query = text("SELECT address, state FROM message WHERE channel = 'email'")
        async with self.database.engine.connect() as connection:
            return {row[0].partition("@")[0]: row[1] for row in await connection.execute(query)}

    async def after_has_passed(self) -> None:
        """As if the time that emails have to get through were over."""
        query = text(
            "UPDATE campaign_run SET deadline = '2026-01-01 00\\:00\\:00.000000'"
            " WHERE channel = 'email'"
        )
        async with self.database.engine.begin() as connection:
            await connection.execute(query)

    async def is_over(self, flow_run_id: UUID, *, runs: int) -> bool:
        run = await self.client.read_flow_run(flow_run_id)
        assert run.state_name not in ("Failed", "Crashed"), run.state
        return run.state_name == "Completed" and run.run_count >= runs


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
    environment = {"IGNITION_DATABASE_URL": sqlite_database_url, "IGNITION_CONTROL_SECONDS": "0.2"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    template = tmp_path / "news"
    template.mkdir()
    for name in ("subject.txt", "body.txt", "sms.txt"):
        (template / name).write_text("Hello {{ name }}")
    (tmp_path / "people.csv").write_text(PEOPLE)
    file = tmp_path / "news.yaml"
    file.write_text(CAMPAIGN.format(tenant=tenant_name))
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
        planned = await plan(database, client, file, environment="dev")
        assert planned is not None
        done = await carry_out(database, client, planned, actor="test")
        await client.create_deployment(
            flow_id=await client.create_flow_from_name(FLOW),
            name="sms",
            entrypoint=ENTRYPOINT,
            pull_steps=[],
            work_pool_name="sms",
        )
        yield Stage(client, database, smtp, smsc, tenant_name, done.deployment_id, environment)
    await database.close()


@pytest.fixture
async def workers(prefect: PrefectServer, stage: Stage) -> AsyncIterator[None]:
    """One for each channel's pool."""
    with (
        PrefectWorker(prefect, "email", environment=stage.environment),
        PrefectWorker(prefect, "sms", environment=stage.environment),
    ):
        yield


@pytest.mark.usefixtures("workers")
async def test_exactly_those_get_a_text_whose_email_did_not_get_through(stage: Stage) -> None:
    """Refused, refused with its content, too late, bounced days after: one text each, once."""
    async with stage.database.write() as session:
        await suppress(
            session,
            tenant_id=1,
            channel=Channel.SMS,
            addresses=["+491701234506"],
            reason=SuppressionReason.OPT_OUT,
            detail="STOP",
            actor="test",
        )
    run = await stage.client.create_flow_run_from_deployment(stage.deployment)

    async def tried() -> bool:
        states = await stage.states()
        return len(states) == 8 and set(states.values()) == {"sent", "failed", "deferred"}

    await wait_until(tried)
    lead = (await stage.legs())["email"]
    assert lead.deadline is not None
    assert (lead.deadline - lead.run_at).total_seconds() == 4 * 3600
    await stage.after_has_passed()
    await wait_until(lambda: stage.is_over(run.id, runs=1))

    texting = (await stage.legs())["sms"].flow_run_id
    assert texting is not None
    await wait_until(lambda: stage.is_over(texting, runs=1))
    await catch_up(stage, texting)
    first = Counter(["02", "03", "07", "08"])
    assert stage.mails() == Counter(["ok@example.com", "late@example.com"])
    assert stage.texts() == first
    assert (await stage.states())["defer-451.cid"] == "expired"

    await bounce(stage)
    before = (await stage.client.read_flow_run(texting)).run_count
    found = await asyncio.gather(fall_back_late.fn(), fall_back_late.fn())
    assert sum(bool(one) for one in found) in (1, 2)
    await wait_until(lambda: stage.is_over(texting, runs=before + 1))
    assert await fall_back_late.fn() == {}
    assert stage.texts() == first + Counter(["05"])
    assert stage.mails() == Counter(["ok@example.com", "late@example.com"])
    await check_accounts(stage)


async def catch_up(stage: Stage, flow_run_id: UUID) -> None:
    """What reconcile does each minute: nothing is left when it has found nothing more to do."""

    async def quiet() -> bool:
        done = {**await fall_back_late.fn(), **await start_legs.fn()}
        run = await stage.client.read_flow_run(flow_run_id)
        return not done and run.state_name == "Completed"

    await wait_until(quiet)


async def bounce(stage: Stage) -> None:
    """A mail comes back twice, with the header of the one that was sent."""
    (sent,) = [one for one in stage.smtp.accepted if one.recipients == ("late@example.com",)]
    header = sent.content.decode().replace("\r\n", "\n").partition("\n\n")[0]
    raw = BOUNCE.format(header=header).replace("\n", "\r\n").encode()
    desk = MailDesk(stage.database)
    for source in ("one", "another"):
        await desk.store([IncomingMail(raw=raw, source=source)])
        await desk.settle()
    assert (await stage.states())["late"] == "bounced"


async def check_accounts(stage: Stage) -> None:
    """How many fell back, of what class, and what became of both channels' messages."""
    status = await run_status(stage.database, stage.reference)
    assert status.fallback is not None
    assert (status.fallback.emails, status.fallback.text_messages) == (6, 5)
    assert sum(status.fallback.by_class.values()) == 6
    assert status.counts["total"] == 8
    other = status.other_leg
    assert other is not None
    assert (other.counts["total"], other.counts["suppressed"]) == (6, 1)
    assert other.counts["sent"] + other.counts["delivered"] == 5


async def test_a_run_without_workers_sends_its_texts_itself(stage: Stage, tmp_path: Path) -> None:
    """Before it ends; what bounces later goes by the deployment, as of any other run."""
    people = "reject-550.bob@example.com,+491701234502,Bob\nlate@example.com,+491701234505,Fay\n"
    (tmp_path / "people.csv").write_text(f"email,phone,name\n{people}")

    state = await campaign(CampaignParameters(campaign=stage.reference), return_state=True)

    assert (state.name, state.message) == ("Completed", "1 sent, 1 failed")
    assert stage.mails() == Counter(["late@example.com"])
    assert stage.texts() == Counter(["02"])
    before = (await stage.legs())["sms"]
    assert before.state == "completed"
    await bounce(stage)
    assert len(await fall_back_late.fn()) == 1
    after = (await stage.legs())["sms"]
    assert after.flow_run_id not in (None, before.flow_run_id)
    assert after.flow_run_id is not None
    waiting = await stage.client.read_flow_run(after.flow_run_id)
    assert waiting.deployment_id is not None
    await stage.client.delete_flow_run(waiting.id)  # no worker of another test's shall take it
