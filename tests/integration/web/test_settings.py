"""What a tenant sets about links is checked where it is set, and reaches the plan of a run."""

from __future__ import annotations

import pytest

from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.store import apply
from ignition_ext.database import Database
from ignition_ext.delivery.plan import plan_campaign
from ignition_ext.errors import ConfigurationError
from ignition_ext.links import LinkPlan
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant, set_tenant_setting


async def planned(database: Database, folder, **changes) -> LinkPlan | None:
    said = {"name": "news", "tenant": "acme", "channel": "email", "audience": {"name": "people"}}
    said |= {"template": "news", "block": "mail", "from": "news@acme.example", **changes}
    definition = CampaignDefinition.model_validate(said)
    await apply(database, definition, base_path=folder, actor="test")
    async with database.read() as session:
        return (await plan_campaign(session, "acme/news", environment="dev")).links


async def test_a_tenants_settings_reach_its_campaigns(database: Database, tmp_path) -> None:
    """The campaign's own word goes first; without a public address the run is refused."""
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("Hi")
    (template / "body.txt").write_text("Hello {{ unsubscribe_url }}")
    await create_tenant(database, name="acme", actor="test")
    await push(database, tenant="acme", folder=template, actor="test", publish=True)

    async def say(key: str, value: object) -> None:
        await set_tenant_setting(database, tenant="acme", key=key, value=value, actor="test")

    assert await planned(database, tmp_path) is None
    await say("unsubscribe.one_click", True)
    with pytest.raises(ConfigurationError, match="IGNITION_WEB_URL"):
        await planned(database, tmp_path)
    await say("web.url", "https://mail.acme.example/")
    await say("unsubscribe.mailto", "stop@acme.example")
    links = await planned(database, tmp_path)
    assert links is not None
    assert (links.base, links.has_header) == ("https://mail.acme.example", True)
    assert (links.mailto, links.are_named) == ("stop@acme.example", True)
    own = {"list-unsubscribe": "<mailto:x@acme.example>"}
    for changes in ({"unsubscribe": False}, {"headers": own}):
        links = await planned(database, tmp_path, **changes)
        assert links is not None
        assert not links.has_header
    with pytest.raises(ConfigurationError, match=r"web\.url"):
        await say("web.url", "http://mail.acme.example")
