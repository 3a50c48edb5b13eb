"""Applying campaign files: the database and a real Prefect server, all or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from blocks import SmppGateway, SmtpServer
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.errors import CampaignFileError, ConfigurationError, ConflictError
from ignition_ext.models import Audience, AuditLog, Campaign, CampaignVersion
from ignition_ext.orchestration import apply as orchestration
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import find_deployment
from ignition_ext.templates import store as templates
from ignition_ext.tenants import create_tenant, get_tenant

FILE = """\
name: newsletter
tenant: {tenant}
channel: email
audience: {{name: customers}}
template: newsletter
block: {tenant}-mail
from: "Acme <news@acme.example>"
attachments: [terms.txt]
schedules:
  - {{cron: "0 8 * * MON-FRI", timezone: Europe/Berlin}}
"""
"""The lines are told by number below."""


class Workshop:
    """A tenant with a template, an audience and a block, and a folder with a campaign file."""

    def __init__(self, database: Database, folder: Path, tenant: str) -> None:
        self.database, self.folder, self.tenant = database, folder, tenant
        self.file = folder / "newsletter.yaml"
        self.file.write_text(FILE.format(tenant=tenant))
        (folder / "terms.txt").write_text("Nothing binds anybody.")

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    async def apply(self, environment: str = "dev") -> orchestration.Result | None:
        async with prefect_client() as client:
            planned = await orchestration.plan(
                self.database, client, self.file, environment=environment
            )
            if planned is None:
                return None
            return await orchestration.carry_out(self.database, client, planned, actor="ann")

    async def rows(self, table: Any) -> list[Any]:
        async with self.database.read() as session:
            return list(await session.exec(select(table)))

    async def deployed(self) -> Any:
        async with prefect_client() as client:
            return await find_deployment(client, f"{self.tenant}.newsletter")


@pytest.fixture
async def shop(
    database: Database, prefect: PrefectServer, tmp_path: Path, tenant_name: str
) -> Workshop:
    template = tmp_path / "templates" / "newsletter"
    template.mkdir(parents=True)
    (template / "subject.txt").write_text("Hello {{ first_name }}")
    (template / "body.txt").write_text("Dear {{ first_name }}, all is well.\n")
    folder = tmp_path / "deployments" / tenant_name
    folder.mkdir(parents=True)

    await create_tenant(database, name=tenant_name, timezone="Europe/Berlin", actor="test")
    await templates.push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with database.write() as session:
        tenant = await get_tenant(session, tenant_name)
        columns = ["email", "phone", "first_name"]
        session.add(Audience(tenant_id=tenant.id, name="customers", generation=1, columns=columns))
    await SmtpServer(host="127.0.0.1", port=25, security="none").asave(f"{tenant_name}-mail")
    return Workshop(database, folder, tenant_name)


async def test_applying_makes_rows_and_deployment(shop: Workshop) -> None:
    """The campaign's row knows its deployment, and the audit log knows who it was."""
    result = await shop.apply()

    assert result is not None
    (campaign,) = await shop.rows(Campaign)
    (version,) = await shop.rows(CampaignVersion)
    deployed = await shop.deployed()
    assert (result.changed, result.version, result.deployment_changed) == (True, 1, ("all",))
    assert campaign.prefect_deployment_id == deployed.id == result.deployment_id
    assert version.base_path == str(shop.folder)
    assert (await shop.rows(AuditLog))[-1].action == "campaign.applied"


async def test_applying_twice_changes_nothing(shop: Workshop) -> None:
    """No new row, no change of the deployment, no new schedule."""
    await shop.apply()
    before, audited = await shop.deployed(), len(await shop.rows(AuditLog))
    again = await shop.apply()

    after = await shop.deployed()
    assert again is not None
    assert (again.changed, again.deployment_changed) == (False, ())
    assert after.updated == before.updated
    assert [s.id for s in after.schedules] == [s.id for s in before.schedules]
    assert len(await shop.rows(AuditLog)) == audited
    assert len(await shop.rows(CampaignVersion)) == 1


async def test_a_change_that_prefect_need_not_know_leaves_the_deployment(shop: Workshop) -> None:
    """Another sender is a new version; schedules and scheduled runs stay as they are."""
    await shop.apply()
    before = await shop.deployed()
    shop.change("news@acme.example", "hello@acme.example")
    result = await shop.apply()

    assert result is not None
    assert (result.version, result.deployment_changed) == (2, ())
    assert (await shop.deployed()).updated == before.updated


async def test_a_deployment_that_was_deleted_in_the_ui_comes_back(shop: Workshop) -> None:
    """The row then knows the new one; the version stays."""
    await shop.apply()
    async with prefect_client() as client:
        await client.delete_deployment((await shop.deployed()).id)
    result = await shop.apply()

    assert result is not None
    (campaign,) = await shop.rows(Campaign)
    assert (result.changed, result.version) == (False, 1)
    assert campaign.prefect_deployment_id == (await shop.deployed()).id


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("tenant: acme", "tenant: nobody-acme", 2, "tenant", "there is no tenant 'nobody-acme"),
        ("name: customers", "name: others", 4, "audience.name", "no audience 'others'"),
        ("name: customers", "csv: none.csv", 4, "audience.csv", "none.csv does not exist"),
        ("name: customers", "csv: ../x.csv", 4, "audience.csv", "outside of"),
        ("template: newsletter", "template: letter", 5, "template", "letter"),
        ("template: newsletter", "template: newsletter@7", 5, "template", "newsletter"),
        ("-mail\n", "-post\n", 6, "block", "there is no block ignition-smtp-server/"),
        ("terms.txt", "/etc/passwd", 8, "attachments.0", "outside of"),
        ("terms.txt", "terms.md", 8, "attachments.0", "terms.md does not exist"),
        ("0 8 * * MON-FRI", "0 0 8 * * ?", 10, "schedules.0.cron", "6 fields"),
    ],
    ids=lambda value: None if isinstance(value, int) else str(value)[:20].strip(),
)
async def test_what_does_not_fit_is_told_by_line_and_changes_nothing(
    shop: Workshop, old: str, new: str, line: int, field: str, words: str
) -> None:
    """Each wrong thing is one message with place; neither side has a trace of it."""
    shop.change(old, new)
    with pytest.raises(CampaignFileError) as caught:
        await shop.apply()

    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in caught.value.message
    assert await shop.rows(Campaign) == []
    assert await shop.deployed() is None


async def test_a_block_of_the_other_kind_is_named(shop: Workshop) -> None:
    """Whoever mixed up the blocks is told which one there is."""
    gateway = SmppGateway(host="127.0.0.1", system_id="acme", password="x")
    await gateway.asave(f"{shop.tenant}-sms")
    shop.change("-mail\n", "-sms\n")

    with pytest.raises(CampaignFileError, match="there is one of type ignition-smpp-gateway"):
        await shop.apply()


async def test_a_variable_that_the_audience_lacks_is_told_with_its_line(shop: Workshop) -> None:
    """The template's file and line, at the campaign's line that names the template."""
    template = shop.folder.parents[1] / "templates" / "newsletter"
    (template / "body.txt").write_text("Dear {{ first_name }},\nyour plan is {{ plan }}.\n")
    await templates.push(
        shop.database, tenant=shop.tenant, folder=template, actor="test", publish=True
    )

    with pytest.raises(CampaignFileError, match=r"body.txt:2: needs the column 'plan'") as caught:
        await shop.apply()
    assert (caught.value.line, caught.value.field) == (5, "template")


async def test_an_audience_without_addresses_of_the_channel_is_refused(shop: Workshop) -> None:
    """A run would skip every recipient."""
    (shop.folder / "phones.csv").write_text("phone,first_name\n+4915112345678,Ann\n")
    shop.change("name: customers", "csv: phones.csv")

    with pytest.raises(CampaignFileError, match="no column email"):
        await shop.apply()


async def test_a_campaign_with_two_channels_needs_what_both_need(shop: Workshop) -> None:
    """Both parts of the template, both columns, both blocks; its deployment is the emails'."""
    sms = f"sms: {{block: {shop.tenant}-sms, from: ACME}}\nschedules:"
    shop.change("channel: email", "channel: both")
    shop.change("schedules:", sms)
    with pytest.raises(CampaignFileError, match="has no files for sms") as caught:
        await shop.apply()
    assert caught.value.field == "template"

    template = shop.folder.parents[1] / "templates" / "newsletter"
    (template / "sms.txt").write_text("Hello {{ first_name }}")
    await templates.push(
        shop.database, tenant=shop.tenant, folder=template, actor="test", publish=True
    )
    with pytest.raises(CampaignFileError, match="no block ignition-smpp-gateway/") as caught:
        await shop.apply()
    assert (caught.value.line, caught.value.field) == (9, "sms.block")
    gateway = SmppGateway(host="127.0.0.1", system_id="acme", password="x")
    await gateway.asave(f"{shop.tenant}-sms")
    assert await shop.apply() is not None
    deployed = await shop.deployed()
    assert deployed.work_pool_name == "email"
    assert "channel:both" in deployed.tags
    (shop.folder / "mails.csv").write_text("email,first_name\nann@example.com,Ann\n")
    shop.change("name: customers", "csv: mails.csv")
    with pytest.raises(CampaignFileError, match="no column phone"):
        await shop.apply()


async def test_prefects_refusal_rolls_the_rows_back(shop: Workshop) -> None:
    """The work pool vanishes between the look and the deed: nothing is stored."""

    async def apply_to_a_pool_that_is_gone() -> None:
        async with prefect_client() as client:
            planned = await orchestration.plan(shop.database, client, shop.file, environment="dev")
            assert planned is not None
            wrong = replace(planned, deployment=replace(planned.deployment, pool="gone"))
            await orchestration.carry_out(shop.database, client, wrong, actor="ann")

    with pytest.raises(ConfigurationError, match=r'Work pool "gone" not found'):
        await apply_to_a_pool_that_is_gone()
    assert await shop.rows(Campaign) == []
    assert await shop.deployed() is None


async def test_two_who_apply_at_once_end_in_one_state(shop: Workshop) -> None:
    """One version, one deployment, and the row that points at it."""
    results = await asyncio.gather(*(shop.apply() for _ in range(3)), return_exceptions=True)

    assert all(isinstance(r, orchestration.Result | ConflictError) for r in results), results
    (campaign,) = await shop.rows(Campaign)
    assert len(await shop.rows(CampaignVersion)) == 1
    assert campaign.prefect_deployment_id == (await shop.deployed()).id


async def test_a_file_for_another_environment_is_left_out(shop: Workshop) -> None:
    """Neither checked against this server nor applied; nothing is written."""
    shop.file.write_text(shop.file.read_text() + "environments: [prod]\n")

    assert await shop.apply() is None
    assert await shop.rows(Campaign) == []
    assert await shop.apply(environment="prod") is not None
    with pytest.raises(CampaignFileError, match="no longer meant to") as caught:
        await shop.apply()
    assert caught.value.field == "environments"


async def test_deleting_takes_both_away(shop: Workshop) -> None:
    """Row and deployment are gone; the campaign can be applied again."""
    await shop.apply()
    async with prefect_client() as client:
        removed = await orchestration.delete(
            shop.database, client, f"{shop.tenant}/newsletter", actor="ann"
        )

    assert removed
    assert await shop.deployed() is None
    result = await shop.apply()
    assert result is not None
    assert result.version == 2
