"""Edits that know which version they began with, and who made the versions; selections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.selection import Selection, select_campaigns
from ignition_ext.database import Database
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.tenants import create_tenant


def definition(name: str = "news", **changes: Any) -> CampaignDefinition:
    said = {
        "name": name,
        "tenant": "acme",
        "channel": "email",
        "audience": {"name": "customers"},
        "template": "news",
        "block": "acme-mail",
        "from": "news@acme.example",
    }
    return CampaignDefinition.model_validate(said | changes)


@pytest.fixture
async def acme(database: Database) -> Database:
    for name in ("acme", "globex"):
        await create_tenant(database, name=name, actor="test")
    return database


async def write(
    database: Database, actor: str, expected: int | None = None, **changes: Any
) -> store.Applied:
    async with database.write() as session:
        return await store.write(
            session,
            definition(**changes),
            base_path=Path("/srv"),
            actor=actor,
            expected=expected,
        )


async def test_a_stale_edit_is_refused_with_the_name_of_who_was_quicker(acme: Database) -> None:
    """Nothing is written; whoever says what stands there already is right all the same."""
    with pytest.raises(ConflictError, match="acme/news does not exist yet; the edit began with"):
        await write(acme, "ann", expected=3)
    await write(acme, "ann", expected=0)
    await write(acme, "bob", expected=1, priority="high")

    with pytest.raises(ConflictError, match="is at version 2, changed by bob at 2") as caught:
        await write(acme, "ann", expected=1, priority="low")
    assert "ignition campaign show acme/news" in caught.value.mend
    same = await write(acme, "ann", expected=1, priority="high")
    assert (same.version, same.changed) == (2, False)


async def test_the_history_says_who_changed_what(acme: Database) -> None:
    """The newest first, and the end of it too."""
    await write(acme, "ann")
    await write(acme, "bob", template="other", tags=["x"])
    async with acme.write() as session:
        await store.mark_deleted(session, "acme/news", actor="cyd")

    async with acme.read() as session:
        changes = await store.history(session, "acme/news", limit=10)
        assert await store.history(session, "acme/other", limit=10) == []
    assert [(one.actor, one.action, one.version) for one in changes] == [
        ("cyd", "campaign.deleted", None),
        ("bob", "campaign.applied", 2),
        ("ann", "campaign.applied", 1),
    ]
    assert list(changes[1].changed) == ["tags", "template"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"pattern": "acme/news"}, ["acme/news"]),
        ({"pattern": "acme/n*"}, ["acme/news", "acme/next"]),
        ({"pattern": "*/news"}, ["acme/news", "globex/news"]),
        ({"pattern": "acme/ne[wx]?"}, ["acme/news", "acme/next"]),
        ({"tenant": "globex"}, ["globex/news"]),
        ({"tag": "weekly"}, ["acme/next", "globex/news"]),
        ({"tag": "channel:sms"}, ["acme/bill"]),
        ({"tenant": "acme", "tag": "weekly"}, ["acme/next"]),
        ({"tenant": "acme", "pattern": "*/news"}, ["acme/news"]),
    ],
    ids=str,
)
async def test_many_are_selected(acme: Database, given: Any, names: list[str]) -> None:
    """All that is given has to hold."""
    for more in (
        {"name": "news"},
        {"name": "next", "tags": ["weekly"]},
        {"name": "bill", "channel": "sms", "from": "Acme"},
        {"name": "news", "tenant": "globex", "tags": ["weekly"]},
    ):
        await write(acme, "ann", **more)

    async with acme.read() as session:
        found = await select_campaigns(session, Selection(**given))
        assert [campaign.reference for campaign in found] == names
        with pytest.raises(NotFoundError):
            await select_campaigns(session, Selection(pattern="acme/x*"))
