"""From a campaign's envelope sender to the flow that takes its bounces in, and the commands."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State

from blocks import BounceMailbox, SmtpServer
from flows.bounces import bounces
from flows.campaign import campaign
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.store import apply
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant

ADA, BOB = "ada@example.com", "bob@example.com"
BOUNCE = """\
From: MAILER-DAEMON@mx.example.net
To: {to}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; ada@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
"""


@dataclass
class Stage:
    """A tenant with a campaign to two people, and a Maildir for what comes back."""

    client: PrefectClient
    database: Database
    folder: Path
    tenant: str

    @property
    def maildir(self) -> Path:
        return self.folder / "mail"

    async def save_server(self, port: int) -> None:
        block = SmtpServer(
            host="127.0.0.1",
            port=port,
            security="none",
            bounce_address="bounces@mail.example.com",
        )
        await block.asave(f"{self.tenant}-mail", client=self.client, overwrite=True)

    async def run(self) -> State[Any]:
        return await campaign(CampaignParameters(campaign=f"{self.tenant}/news"), return_state=True)


@pytest.fixture
async def stage(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    for name in ("mail/new", "mail/cur", "mail/tmp", "news"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "news" / "subject.txt").write_text("News")
    (tmp_path / "news" / "body.txt").write_text("Hello")
    (tmp_path / "people.csv").write_text(f"email\n{ADA}\n{BOB}\n")
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    await push(database, tenant=tenant_name, folder=tmp_path / "news", actor="test", publish=True)
    said = {
        "name": "news",
        "tenant": tenant_name,
        "channel": "email",
        "audience": {"csv": "people.csv"},
        "template": "news",
        "block": f"{tenant_name}-mail",
        "from": "Acme <news@example.com>",
    }
    await apply(database, CampaignDefinition.model_validate(said), base_path=tmp_path, actor="test")
    async with prefect_client() as client:
        yield Stage(client, database, tmp_path, tenant_name)
    await database.close()


async def test_a_bounce_finds_its_message_and_stops_the_next(stage: Stage) -> None:
    """Each message has an envelope sender of its own; a mailbox that is away stops nothing else."""
    async with CaptureSmtpServer() as smtp:
        await stage.save_server(smtp.port)
        assert (await stage.run()).is_completed()
        senders = {message.recipients[0]: message.envelope_from for message in smtp.messages}
        assert len(set(senders.values())) == 2
        assert all(
            re.fullmatch(r"bounces\+[a-z2-7]{42}@mail\.example\.com", sender)
            for sender in senders.values()
        )
        (stage.maildir / "new" / "1.mx").write_text(BOUNCE.format(to=senders[ADA]))
        mailbox = BounceMailbox(
            host="127.0.0.1", port=free_port(), security="none", username="x", password="y"
        )
        await mailbox.asave(f"{stage.tenant}-bounces", client=stage.client)

        taken = await bounces(maildirs=[str(stage.maildir)], return_state=True)
        quiet = await bounces(mailboxes=[], return_state=True)

        assert taken.is_failed()
        assert f"{stage.tenant}-bounces: ConnectFailed" in str(taken.message)
        assert "1 mails taken in; 1 bounce, 1 addresses suppressed." in str(taken.message)
        assert quiet.message == "0 mails taken in; nothing new"
        assert (await stage.run()).message == "1 sent, 1 suppressed"
        assert [message.recipients[0] for message in smtp.messages].count(ADA) == 1


def test_the_commands_say_what_fits_nothing_and_what_files_are(
    ignition_here: Any, stage: Stage
) -> None:
    """JSON alone on stdout; what is missing is told with its mend."""
    file = stage.folder / "one.eml"
    file.write_text(BOUNCE.format(to="bounces@mail.example.com"))

    [checked] = ignition_here("bounces", "check", file, "--json").document
    empty = ignition_here("bounces", "unmatched", "--json")
    nothing = ignition_here("bounces", "listen")
    unknown = ignition_here("bounces", "listen", "--imap", f"{stage.tenant}-nowhere")

    assert (checked["kind"], checked["recipients"][0]["is_hard"]) == ("bounce", True)
    assert json.loads(empty.out) == []
    assert (nothing.code, unknown.code) == (1, 1)
    assert "nothing to listen to" in nothing.err
    assert "ignition-bounce-mailbox" in unknown.err
