"""Stores templates with their versions: drafts are edited, published versions never change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.models import Template, TemplateState, TemplateVersion
from ignition_ext.models.types import utc_now
from ignition_ext.templates.bundle import Bundle, make_bundle, newest
from ignition_ext.templates.folder import TemplateFolder, find_folders, read_folder
from ignition_ext.templates.rendering.manifest import Manifest
from ignition_ext.templates.rendering.sources import TemplateSources
from ignition_ext.tenants import get_tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """What a change came to; ``changed`` is False when the version was like that already."""

    name: str
    version: int
    state: TemplateState
    changed: bool


PushResults = Sequence[PushResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTemplate:
    """A version out of the database, ready for a :class:`..rendering.Renderer`."""

    version_id: int
    sources: TemplateSources


async def push(
    database: Database, *, tenant: str, folder: Path, actor: str, publish: bool = False
) -> PushResult:
    """Store a template's folder: as its draft, or with ``publish`` as its published version.

    An unchanged folder makes no new version. With ``publish`` it makes one when a template that
    it takes in was published anew since.

    Raises:
        NotFoundError: there is no such tenant.
        TemplateError: the template cannot be stored, with file and line.
    """
    return (await _push_all(database, tenant, [read_folder(folder)], actor, publish))[0]


async def push_all(
    database: Database, *, tenant: str, folder: Path, actor: str, publish: bool = False
) -> Sequence[PushResult]:
    """Store one template's folder or a folder of such; either all of them or none.

    Raises:
        NotFoundError: there is no such tenant.
        TemplateError: a template cannot be stored, with file and line.
    """
    return await _push_all(database, tenant, find_folders(folder), actor, publish)


async def publish(
    database: Database, *, tenant: str, name: str, version: int | None = None, actor: str
) -> PushResult:
    """Publish the newest draft, or the given version; an archived one comes back as it was.

    Raises:
        NotFoundError: there is no such tenant, template or version.
        TemplateError: it cannot be compiled with what is published now.
    """
    async with database.write() as session:
        owner = await get_tenant(session, tenant)
        assert owner.id is not None
        rows = await versions(session, tenant_id=owner.id, name=name)
        row = pick(rows, name, version)
        return await _publish(session, row, name, actor)


async def archive(
    database: Database, *, tenant: str, name: str, version: int | None = None, actor: str
) -> Sequence[PushResult]:
    """Take the given version, or all of them, out of use; runs that began with one go on.

    Raises:
        NotFoundError: there is no such tenant, template or version.
    """
    async with database.write() as session:
        owner = await get_tenant(session, tenant)
        assert owner.id is not None
        rows = await versions(session, tenant_id=owner.id, name=name)
        chosen = rows if version is None else [pick(rows, name, version)]
        return [await _archive(session, row, name, actor) for row in chosen]


async def load(session: AsyncSession, *, tenant_id: int, reference: str) -> StoredTemplate:
    """A published version: the newest of ``name``, or the one of ``name@3``.

    Raises:
        NotFoundError: there is none; says what there is.
    """
    name, _, number = reference.partition("@")
    if number:
        rows = await versions(session, tenant_id=tenant_id, name=name)
        row = pick(rows, name, int(number) if number.isdecimal() else 0)
        if row.state != TemplateState.PUBLISHED:
            raise NotFoundError(
                f"version {row.version} of template {name!r} is {row.state}, not published.",
                mend=f"Run: ignition template publish {name} --version {row.version}",
            )
    else:
        found = await newest(session, tenant_id=tenant_id, name=name, drafts=False)
        if found is None:
            await versions(session, tenant_id=tenant_id, name=name)
            raise NotFoundError(
                f"no version of template {name!r} is published.",
                mend=f"Run: ignition template publish {name}",
            )
        row = found
    return _stored(row, name)


async def load_version(session: AsyncSession, *, version_id: int) -> StoredTemplate:
    """A version that was published once, by its row's id, archived or not: for runs under way.

    Raises:
        NotFoundError: there is no such version, or it was never published.
    """
    query = (
        select(TemplateVersion, Template.name)
        .join(Template, col(TemplateVersion.template_id) == col(Template.id))
        .where(TemplateVersion.id == version_id)
    )
    found = (await session.exec(query)).one_or_none()
    if found is None or found[0].compiled is None:
        raise NotFoundError(f"there is no published template version of id {version_id}.")
    return _stored(found[0], found[1])


async def load_newest(
    session: AsyncSession, *, tenant_id: int, name: str, version: int | None = None
) -> TemplateSources:
    """A version in any state, by default the newest, for previews; a draft is made ready now.

    Raises:
        NotFoundError: there is none.
        TemplateError: a draft cannot be compiled.
    """
    rows = await versions(session, tenant_id=tenant_id, name=name)
    row = rows[-1] if version is None else pick(rows, name, version)
    if row.compiled is not None:
        return _stored(row, name).sources
    bundle = await _bundle(session, row, name, drafts=True)
    return TemplateSources(
        name=name,
        version=row.version,
        files=bundle.files,
        settings=row.settings,
        variables=bundle.variables,
    )


async def list_templates(
    session: AsyncSession, *, tenant_id: int
) -> Sequence[tuple[str, Sequence[TemplateVersion]]]:
    """Every template of a tenant by name, with its versions in order."""
    query = (
        select(Template.name, TemplateVersion)
        .join(TemplateVersion, col(TemplateVersion.template_id) == col(Template.id))
        .where(Template.tenant_id == tenant_id)
        .order_by(col(Template.name), col(TemplateVersion.version))
    )
    grouped: dict[str, list[TemplateVersion]] = {}
    for name, row in (await session.exec(query)).all():
        grouped.setdefault(name, []).append(row)
    return list(grouped.items())


async def versions(
    session: AsyncSession, *, tenant_id: int, name: str
) -> Sequence[TemplateVersion]:
    """The versions of a template in order; at least one.

    Raises:
        NotFoundError: the tenant has no such template.
    """
    query = (
        select(TemplateVersion)
        .join(Template, col(TemplateVersion.template_id) == col(Template.id))
        .where(Template.tenant_id == tenant_id, Template.name == name)
        .order_by(col(TemplateVersion.version))
    )
    rows = (await session.exec(query)).all()
    if not rows:
        raise NotFoundError(
            f"there is no template {name!r}.", mend="Run: ignition template push DIR --tenant T"
        )
    return rows


def pick(rows: Sequence[TemplateVersion], name: str, version: int | None) -> TemplateVersion:
    """The version of that number; without one the newest draft, or else the newest of all.

    Raises:
        NotFoundError: there is no such version; says which there are.
    """
    if version is None:
        drafts = [row for row in rows if row.state == TemplateState.DRAFT]
        return (drafts or list(rows))[-1]
    for row in rows:
        if row.version == version:
            return row
    held = ", ".join(f"{row.version} ({row.state})" for row in rows)
    raise NotFoundError(f"template {name!r} has no version {version}.", mend=f"There are: {held}.")


async def _push_all(
    database: Database,
    tenant: str,
    folders: Sequence[TemplateFolder],
    actor: str,
    publish: bool,
) -> Sequence[PushResult]:
    try:
        async with database.write() as session:
            owner = await get_tenant(session, tenant)
            assert owner.id is not None
            return [await _push(session, owner.id, one, actor, publish) for one in folders]
    except IntegrityError as error:
        raise ConflictError(
            "someone else pushed one of these templates at the same time.", mend="Push again."
        ) from error


async def _push(
    session: AsyncSession, tenant_id: int, folder: TemplateFolder, actor: str, publish: bool
) -> PushResult:
    template = await _template(session, tenant_id, folder.name)
    row = await _latest(session, template)
    changed = row is None or row.digest != folder.digest
    if row is not None and not changed and publish and row.state == TemplateState.PUBLISHED:
        fresh = await _bundle(session, row, folder.name, drafts=False)
        changed = row.compiled is None or fresh.pins != row.compiled["pins"]
    if row is None or (changed and row.state != TemplateState.DRAFT):
        row = _draft(template, 1 if row is None else row.version + 1)
        session.add(row)
    if changed:
        before = {"digest": row.digest} if row.digest else None
        row.digest, row.files = folder.digest, folder.files
        row.settings = folder.manifest.model_dump(mode="json")
        bundle = await _bundle(session, row, folder.name, drafts=not publish)
        row.variables = list(bundle.variables)
        await session.flush()
        await _record(session, row, folder.name, actor, "pushed", before)
    if publish and row.state != TemplateState.PUBLISHED:
        return await _publish(session, row, folder.name, actor)
    return _result(row, folder.name, changed=changed)


async def _publish(
    session: AsyncSession, row: TemplateVersion, name: str, actor: str
) -> PushResult:
    if row.state == TemplateState.PUBLISHED:
        return _result(row, name, changed=False)
    before = {"state": row.state}
    if row.compiled is None:
        bundle = await _bundle(session, row, name, drafts=False)
        row.compiled = {"files": bundle.files, "pins": bundle.pins}
        row.variables = list(bundle.variables)
        row.published_at = utc_now()
    row.state = TemplateState.PUBLISHED
    await session.flush()
    await _record(session, row, name, actor, "published", before)
    return _result(row, name, changed=True)


async def _archive(
    session: AsyncSession, row: TemplateVersion, name: str, actor: str
) -> PushResult:
    if row.state == TemplateState.ARCHIVED:
        return _result(row, name, changed=False)
    before = {"state": row.state}
    row.state = TemplateState.ARCHIVED
    await session.flush()
    await _record(session, row, name, actor, "archived", before)
    return _result(row, name, changed=True)


async def _template(session: AsyncSession, tenant_id: int, name: str) -> Template:
    query = select(Template).where(Template.tenant_id == tenant_id, Template.name == name)
    # The lock makes two pushes of one template wait for each other.
    template = (await session.exec(query.with_for_update())).one_or_none()
    if template is None:
        template = Template(tenant_id=tenant_id, name=name)
        session.add(template)
        await session.flush()
    return template


async def _latest(session: AsyncSession, template: Template) -> TemplateVersion | None:
    query = (
        select(TemplateVersion)
        .where(TemplateVersion.template_id == template.id)
        .order_by(col(TemplateVersion.version).desc())
        .limit(1)
    )
    return (await session.exec(query)).one_or_none()


def _draft(template: Template, version: int) -> TemplateVersion:
    assert template.id is not None
    return TemplateVersion(
        tenant_id=template.tenant_id,
        template_id=template.id,
        version=version,
        digest="",
        files={},
    )


async def _bundle(
    session: AsyncSession, row: TemplateVersion, name: str, *, drafts: bool
) -> Bundle:
    return await make_bundle(
        session,
        tenant_id=row.tenant_id,
        name=name,
        files=row.files,
        manifest=Manifest.model_validate(row.settings),
        drafts=drafts,
    )


def _stored(row: TemplateVersion, name: str) -> StoredTemplate:
    assert row.id is not None
    assert row.compiled is not None
    sources = TemplateSources(
        name=name,
        version=row.version,
        files=row.compiled["files"],
        settings=row.settings,
        variables=tuple(row.variables),
    )
    return StoredTemplate(version_id=row.id, sources=sources)


def _result(row: TemplateVersion, name: str, *, changed: bool) -> PushResult:
    state = TemplateState(row.state)
    return PushResult(name=name, version=row.version, state=state, changed=changed)


async def _record(
    session: AsyncSession,
    row: TemplateVersion,
    name: str,
    actor: str,
    verb: str,
    before: dict[str, str] | None,
) -> None:
    await audit.record(
        session,
        tenant_id=row.tenant_id,
        actor=actor,
        action=f"template.{verb}",
        subject=f"template:{name}@{row.version}",
        before=before,
        after={"state": row.state, "digest": row.digest},
    )
