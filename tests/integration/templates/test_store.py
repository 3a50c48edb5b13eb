"""Templates in the database: drafts change, published versions never do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from ignition_ext.database import Database
from ignition_ext.errors import NotFoundError, TemplateError
from ignition_ext.models import AuditLog, TemplateState, TemplateVersion, Tenant
from ignition_ext.templates import store
from ignition_ext.tenants import create_tenant


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    return await create_tenant(database, name="acme", actor="test")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A layout, and a letter that extends it."""
    root = tmp_path / "templates"
    for name, files in {
        "base": {"body.html": "<p>{% block main %}{% endblock %}</p>"},
        "letter": {
            "subject.txt": "Hello",
            "body.html": '{% extends "base/body.html" %}{% block main %}{{ x }}{% endblock %}',
        },
    }.items():
        (root / name).mkdir(parents=True)
        for file, text in files.items():
            (root / name / file).write_text(text)
    return root


async def push(database: Database, folder: Path, *, publish: bool = False) -> store.PushResult:
    return await store.push(database, tenant="acme", folder=folder, actor="test", publish=publish)


async def load(database: Database, tenant: Tenant, reference: str) -> store.StoredTemplate:
    async with database.read() as session:
        return await store.load(session, tenant_id=tenant.id or 0, reference=reference)


async def rows(database: Database) -> list[TemplateVersion]:
    async with database.read() as session:
        query = select(TemplateVersion).order_by(col(TemplateVersion.id))
        return list((await session.exec(query)).all())


async def test_a_draft_is_edited_in_place_until_it_is_published(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """An unchanged folder changes nothing; after publishing a new version begins."""
    base = folders / "base"
    first = await push(database, base)
    again = await push(database, base)
    (base / "body.html").write_text("<b>{% block main %}{% endblock %}</b>")
    edited = await push(database, base)
    published = await push(database, base, publish=True)
    same = await push(database, base, publish=True)
    (base / "body.html").write_text("<i>{% block main %}{% endblock %}</i>")
    second = await push(database, base)

    results = [first, again, edited, published, same, second]
    assert [result.version for result in results] == [1, 1, 1, 1, 1, 2]
    assert [result.changed for result in results] == [True, False, True, True, False, True]
    assert [result.state.value for result in results] == [
        *("draft", "draft", "draft", "published", "published", "draft")
    ]
    one, two = await rows(database)
    assert one.files == {"body.html": "<b>{% block main %}{% endblock %}</b>"}
    assert two.compiled is None


async def test_what_is_inherited_is_pinned_when_the_child_is_published(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """The base may be published anew; the child stays what it was until it is pushed again."""
    await store.push_all(database, tenant="acme", folder=folders, actor="test", publish=True)
    before = await load(database, tenant, "letter")
    (folders / "base" / "body.html").write_text("<b>{% block main %}{% endblock %}</b>")
    await push(database, folders / "base", publish=True)

    assert await load(database, tenant, "letter") == before
    assert before.sources.files["base/body.html"].startswith("<p>")

    again = await push(database, folders / "letter", publish=True)
    assert (again.version, again.changed) == (2, True)
    after = await load(database, tenant, "letter")
    assert after.sources.files["base/body.html"].startswith("<b>")
    assert await load(database, tenant, "letter@1") == before
    assert [row.compiled and row.compiled["pins"] for row in await rows(database)] == [
        *({}, {"base": 1}, {}, {"base": 2})
    ]


async def test_a_child_cannot_be_published_before_its_base(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """The error names the line that takes it in; nothing is stored."""
    with pytest.raises(TemplateError, match="'base'") as caught:
        await push(database, folders / "letter")
    assert (caught.value.file, caught.value.line) == ("letter/body.html", 1)
    assert await rows(database) == []

    await push(database, folders / "base")
    await push(database, folders / "letter")
    with pytest.raises(TemplateError, match="no published version"):
        await store.publish(database, tenant="acme", name="letter", actor="test")


async def test_another_tenants_templates_are_not_there(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """Inheritance stays within a tenant."""
    other = await create_tenant(database, name="other", actor="test")
    await store.push(database, tenant="other", folder=folders / "base", actor="test", publish=True)

    with pytest.raises(TemplateError, match="'base'"):
        await push(database, folders / "letter", publish=True)
    with pytest.raises(NotFoundError):
        await load(database, tenant, "base")
    assert (await load(database, other, "base")).sources.version == 1


async def test_all_or_none_of_a_folder_is_stored(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """An error in one template leaves the others as they were."""
    (folders / "letter" / "body.html").write_text("\n{% if %}")

    with pytest.raises(TemplateError) as caught:
        await store.push_all(database, tenant="acme", folder=folders, actor="test")

    assert (caught.value.file, caught.value.line) == ("letter/body.html", 2)
    assert await rows(database) == []


async def test_loading_takes_the_newest_published_or_the_named_version(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """Drafts and archived versions are not for campaigns; errors say what to do."""
    base = folders / "base"
    await push(database, base)
    with pytest.raises(NotFoundError, match="ignition template publish base"):
        await load(database, tenant, "base")
    await push(database, base, publish=True)
    (base / "body.txt").write_text("new")
    await push(database, base)

    assert (await load(database, tenant, "base")).sources.version == 1
    for reference, words in {
        "base@2": "draft",
        "base@9": "no version 9",
        "base@x": "no version 0",
        "gone": "no template 'gone'",
    }.items():
        with pytest.raises(NotFoundError, match=words):
            await load(database, tenant, reference)


async def test_an_archived_version_serves_the_runs_that_have_it(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """New campaigns cannot take it; it can be published again, unchanged."""
    base = folders / "base"
    await push(database, base, publish=True)
    before = await load(database, tenant, "base")

    results = await store.archive(database, tenant="acme", name="base", actor="test")

    assert [result.state for result in results] == [TemplateState.ARCHIVED]
    with pytest.raises(NotFoundError):
        await load(database, tenant, "base")
    async with database.read() as session:
        kept = await store.load_version(session, version_id=before.version_id)
    assert kept == before

    await store.publish(database, tenant="acme", name="base", version=1, actor="test")
    assert await load(database, tenant, "base") == before


async def test_a_preview_sees_drafts_made_ready(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """Drafts of others too, so that a whole change can be looked at before publishing."""
    (folders / "base" / "body.html").write_text(
        "<style>p { color: red }</style><p>{% block main %}{% endblock %}</p>"
    )
    await store.push_all(database, tenant="acme", folder=folders, actor="test")

    async with database.read() as session:
        sources = await store.load_newest(session, tenant_id=tenant.id or 0, name="letter")

    assert sources.variables == ("x",)
    assert '<p style="color: red;">' in sources.files["base/body.html"]


async def test_every_change_is_audited(database: Database, tenant: Tenant, folders: Path) -> None:
    """And nothing else is."""
    base = folders / "base"
    await push(database, base)
    await push(database, base)
    await push(database, base, publish=True)
    for _ in range(2):
        await store.archive(database, tenant="acme", name="base", actor="test")

    async with database.read() as session:
        query = select(AuditLog).order_by(col(AuditLog.seq))
        found = [
            (row.action, row.subject, row.after["state"])
            for row in (await session.exec(query)).all()
            if row.action.startswith("template.")
        ]
    assert found == [
        ("template.pushed", "template:base@1", "draft"),
        ("template.published", "template:base@1", "published"),
        ("template.archived", "template:base@1", "archived"),
    ]


@pytest.mark.parametrize(
    "change", [{"files": {}}, {"compiled": None}, {"version": 7}, {"state": "draft"}]
)
async def test_the_database_refuses_to_change_a_published_version(
    database: Database, tenant: Tenant, folders: Path, change: dict[str, object]
) -> None:
    """Also for whoever comes past this code."""
    await push(database, folders / "base", publish=True)
    before = [row.model_dump() for row in await rows(database)]

    for statement in (update(TemplateVersion).values(**change), delete(TemplateVersion)):
        with pytest.raises(DBAPIError, match="never changes"):
            async with database.write() as session:
                await (await session.connection()).execute(statement)

    assert [row.model_dump() for row in await rows(database)] == before


async def test_two_pushes_at_once_make_one_version(
    database: Database, tenant: Tenant, folders: Path
) -> None:
    """One makes it, the other finds it there or is told to push again."""
    await push(database, folders / "base", publish=True)
    (folders / "base" / "body.txt").write_text("new")

    results = await asyncio.gather(
        *(push(database, folders / "base", publish=True) for _ in range(4))
    )

    assert {result.version for result in results} == {2}
    assert sum(result.changed for result in results) == 1
    assert len(await rows(database)) == 2
