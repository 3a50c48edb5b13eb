"""Pre-flight of campaigns with two channels, against real servers, which get no message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks import SmppGateway, SmtpServer
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.store import apply
from ignition_ext.consent.preferences import Choices, set_preferences
from ignition_ext.database import Database
from ignition_ext.delivery.finding import Severity
from ignition_ext.delivery.plan import plan_campaign
from ignition_ext.delivery.preflight import Preflight, check_campaign
from ignition_ext.delivery.preflight_legs import (
    legs_document,
    legs_markdown,
    require_all,
    would_run,
)
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.errors import ConfigurationError
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel

PEOPLE = [
    "ada@example.com,+491701234501,Ada",
    "bob@example.com,,Bob",
    ",+491701234503,Cid",
    "dea@example.com,+491701234504,Dea",
]


@dataclass
class Setting:
    """A tenant with an audience for both channels, and a server for each."""

    database: Database
    folder: Path
    tenant_id: int
    blocks: dict[Channel, SmtpServer | SmppGateway]

    async def check(
        self, *people: str, limit: int | None = None, **changes: Any
    ) -> list[Preflight]:
        (self.folder / "people.csv").write_text("\n".join(["email,phone,name", *people, ""]))
        said: dict[str, Any] = {
            "name": "news",
            "tenant": "acme",
            "channel": "both",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": "mail",
            "from": "Acme <news@acme.example>",
            "unsubscribe": False,
            "sms": {"block": "sms", "from": "ACME"},
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await apply(self.database, definition, base_path=self.folder, actor="test")
        return [await self._check(channel, limit) for channel in definition.legs]

    async def _check(self, channel: Channel, limit: int | None) -> Preflight:
        async def no_block(name: str) -> str:
            raise AssertionError(name)

        async with self.database.read() as session:
            plan = await plan_campaign(
                session, "acme/news", environment="dev", limit=limit, channel=channel
            )
        return await check_campaign(
            self.database, plan, self.blocks[channel], run={}, resolve_block=no_block, samples=1
        )


@pytest.fixture
async def setting(database: Database, tmp_path: Path) -> AsyncIterator[Setting]:
    template = tmp_path / "news"
    template.mkdir()
    for name in ("subject.txt", "body.txt", "sms.txt"):
        (template / name).write_text("Hello {{ name }}")
    tenant = await create_tenant(database, name="acme", region="DE", actor="test")
    await push(database, tenant="acme", folder=template, actor="test", publish=True)
    assert tenant.id is not None
    async with database.write() as session:
        await set_preferences(
            session,
            tenant_id=tenant.id,
            channel=Channel.EMAIL,
            address="dea@example.com",
            choices=Choices(preferred=Channel.SMS),
            actor="test",
        )
    async with CaptureSmtpServer() as smtp, SmscSimulator() as smsc:
        mail = SmtpServer(host="127.0.0.1", port=smtp.port, security="none")
        texts = SmppGateway(
            host="127.0.0.1", port=smsc.port, system_id=smsc.system_id, password=smsc.password
        )
        yield Setting(database, tmp_path, tenant.id, {Channel.EMAIL: mail, Channel.SMS: texts})
        assert (smtp.received, smsc.submits) == (0, [])


async def test_each_leg_counts_those_whom_it_would_write_to(setting: Setting) -> None:
    """Who prefers the other channel is told apart from who has no address for this one."""
    legs = await setting.check(*PEOPLE)
    require_all(legs)

    assert [leg.found.messages for leg in legs] == [2, 3]
    assert [leg.found.skipped for leg in legs] == [1, 1]
    assert [leg.found.elsewhere for leg in legs] == [1, 0]
    assert [leg.headline for leg in legs] == ["would send 2 by email", "would send 3 by sms"]
    document = legs_document(legs)
    assert (document["would_run"], document["campaign"]) == (True, "acme/news")
    assert [leg["channel"] for leg in document["legs"]] == ["email", "sms"]
    assert document["legs"][0]["counts"]["elsewhere"] == 1
    assert legs_markdown(legs).count("\n# acme/news: ") + 1 == 2


async def test_a_limit_is_of_recipients_whichever_way_they_go(setting: Setting) -> None:
    """As a run takes them."""
    legs = await setting.check(*PEOPLE, limit=3)

    assert [leg.found.messages for leg in legs] == [2, 2]


async def test_a_leg_that_reaches_nobody_only_warns(setting: Setting) -> None:
    """Both of them keep a run from beginning."""
    legs = await setting.check("bob@example.com,,Bob")
    assert would_run(legs)
    assert [one.severity for one in legs[1].findings] == [Severity.WARNING]

    legs = await setting.check(",,Nobody")
    assert not would_run(legs)
    with pytest.raises(ConfigurationError, match="has nobody to write to"):
        require_all(legs)


async def test_a_fallback_counts_the_text_messages_that_there_may_be(setting: Setting) -> None:
    """All who have a number: so many, if no email gets through."""
    legs = await setting.check(*PEOPLE, channel="fallback")

    assert [leg.headline for leg in legs] == [
        "would send 2 by email",
        "would send at most 3 by sms",
    ]
