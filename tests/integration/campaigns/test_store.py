"""Campaigns in the database, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, ConflictError, NotFoundError
from ignition_ext.models import AuditLog, Campaign, CampaignRun, CampaignVersion
from ignition_ext.models.types import utc_now
from ignition_ext.tenants import create_tenant
from ignition_ext.values import RunState

FOLDER = Path("/srv/deployments/acme")


def definition(**changes: Any) -> CampaignDefinition:
    said = {
        "name": "newsletter",
        "tenant": "acme",
        "channel": "email",
        "audience": {"name": "customers"},
        "template": "newsletter",
        "block": "acme-mail",
        "from": "Acme <news@acme.example>",
        "schedules": [{"cron": "0 8 * * MON-FRI", "timezone": "Europe/Berlin"}],
        "delivery": {"deadline": "90m"},
        "owner": {"name": "Data Team", "email": "data@acme.example"},
    }
    return CampaignDefinition.model_validate(said | changes)


@pytest.fixture
async def acme(database: Database) -> Database:
    await create_tenant(database, name="acme", timezone="Europe/Berlin", actor="test")
    return database


async def apply(database: Database, **changes: Any) -> store.Applied:
    return await store.apply(database, definition(**changes), base_path=FOLDER, actor="ann")


async def rows(database: Database, table: Any) -> list[Any]:
    async with database.read() as session:
        return list(await session.exec(select(table).order_by(table.id)))


async def test_what_is_applied_is_what_is_loaded(acme: Database) -> None:
    """A definition comes back equal, durations and times included."""
    applied = await apply(acme)

    async with acme.read() as session:
        stored = await store.load(session, "acme/newsletter")
    assert applied.changed
    assert applied.version == stored.version == 1
    assert stored.definition == definition()
    assert stored.base_path == FOLDER
    assert stored.reference == "acme/newsletter"


async def test_applying_the_same_again_adds_no_row(acme: Database) -> None:
    """Neither a version nor an audit row is written when nothing changed."""
    first = await apply(acme)
    audited = len(await rows(acme, AuditLog))
    again = await apply(acme)

    assert again == store.Applied(campaign_id=first.campaign_id, version=1, changed=False)
    assert len(await rows(acme, CampaignVersion)) == 1
    assert len(await rows(acme, AuditLog)) == audited


async def test_a_change_is_a_new_version_and_the_old_one_stays(acme: Database) -> None:
    """Versions are added; the audit row names the changed fields and holds no address."""
    await apply(acme)
    second = await apply(acme, throttle={"per_second": 5})

    versions = await rows(acme, CampaignVersion)
    assert (second.version, second.changed) == (2, True)
    assert [version.definition["throttle"] for version in versions] == [
        {"per_second": None, "per_domain": None},
        {"per_second": 5.0, "per_domain": None},
    ]
    audit = (await rows(acme, AuditLog))[-1]
    assert (audit.actor, audit.action, audit.subject) == (
        "ann",
        "campaign.applied",
        "campaign:newsletter",
    )
    assert audit.after["changed"] == ["throttle"]
    assert "@acme.example" not in str((audit.before, audit.after))


async def test_a_moved_folder_is_a_change(acme: Database) -> None:
    """Attachments are read from base_path, so a version belongs to a folder."""
    await apply(acme)
    moved = await store.apply(acme, definition(), base_path=Path("/elsewhere"), actor="ann")

    assert (moved.version, moved.changed) == (2, True)


async def test_deleted_campaigns_are_gone_until_applied_again(acme: Database) -> None:
    """Deletion is soft: the versions stay, and the next apply takes the next number."""
    await apply(acme)
    async with acme.write() as session:
        await store.mark_deleted(session, "acme/newsletter", actor="ann")

    async with acme.read() as session:
        assert await store.find(session, "acme/newsletter") is None
        assert await store.list_campaigns(session) == []
        with pytest.raises(NotFoundError, match="no campaign acme/newsletter"):
            await store.load(session, "acme/newsletter")
    assert (await apply(acme)).version == 2


async def test_a_campaign_with_an_open_run_is_not_deleted(acme: Database) -> None:
    """The run would lose what it is a run of."""
    await apply(acme)
    (campaign,) = await rows(acme, Campaign)
    async with acme.write() as session:
        session.add(
            CampaignRun(
                tenant_id=campaign.tenant_id,
                campaign_id=campaign.id,
                campaign_version=1,
                run_at=utc_now(),
                state=RunState.PAUSED,
            )
        )

    with pytest.raises(ConflictError, match="still open"):
        async with acme.write() as session:
            await store.mark_deleted(session, "acme/newsletter", actor="ann")
    async with acme.read() as session:
        assert await store.find(session, "acme/newsletter")


async def test_two_who_apply_at_once_make_one_version(acme: Database) -> None:
    """Both end without a torn state: one version, or a conflict that says so."""
    results = await asyncio.gather(*(apply(acme) for _ in range(4)), return_exceptions=True)

    assert all(isinstance(result, store.Applied | ConflictError) for result in results)
    assert sum(isinstance(r, store.Applied) and r.changed for r in results) == 1
    assert len(await rows(acme, CampaignVersion)) == 1


@pytest.mark.parametrize("reference", ["newsletter", "acme/", "/newsletter", "a/b/c", ""])
async def test_a_reference_names_tenant_and_campaign(acme: Database, reference: str) -> None:
    """Anything else is told how to write it."""
    async with acme.read() as session:
        with pytest.raises(ConfigurationError, match="TENANT/NAME"):
            await store.load(session, reference)


async def test_an_unknown_tenant_is_told(acme: Database) -> None:
    """The message says how to create it, and nothing is written."""
    with pytest.raises(NotFoundError, match="ignition tenant create nobody"):
        await apply(acme, tenant="nobody")
    assert await rows(acme, Campaign) == []


async def test_the_list_is_by_tenant_and_name(acme: Database) -> None:
    """All tenants', or one's."""
    await create_tenant(acme, name="beta", actor="test")
    for tenant, name in (("beta", "a"), ("acme", "z"), ("acme", "b")):
        await apply(acme, tenant=tenant, name=name)

    async with acme.read() as session:
        every = await store.list_campaigns(session)
        of_one = await store.list_campaigns(session, tenant="beta")
    assert [campaign.reference for campaign in every] == ["acme/b", "acme/z", "beta/a"]
    assert [campaign.reference for campaign in of_one] == ["beta/a"]
