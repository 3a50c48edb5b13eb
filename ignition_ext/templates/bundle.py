"""Gathers the files that a template is made from, its own and those of the tenant's others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.errors import TemplateError
from ignition_ext.models import Template, TemplateState, TemplateVersion
from ignition_ext.templates.folder import template_files
from ignition_ext.templates.rendering.compile import compile_bundle
from ignition_ext.templates.rendering.manifest import Manifest
from ignition_ext.templates.rendering.references import missing_templates


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A template made ready: all files, the versions they came from, the columns they need."""

    files: dict[str, str]
    pins: dict[str, int]
    variables: tuple[str, ...]


async def make_bundle(
    session: AsyncSession,
    *,
    tenant_id: int,
    name: str,
    files: Mapping[str, str],
    manifest: Manifest,
    drafts: bool,
) -> Bundle:
    """Compile a template with what it inherits and includes.

    Args:
        session: where the tenant's other templates are.
        tenant_id: whose templates may be taken in; never another tenant's.
        name: the template's name.
        files: its folder's files.
        manifest: what its ``template.yaml`` says.
        drafts: take the newest versions of others, drafts too; else the published ones.

    Raises:
        TemplateError: it cannot be compiled, or takes in what is not there.
    """
    gathered = template_files(name, dict(files))
    pins: dict[str, int] = {}
    while missing := missing_templates(gathered):
        for other, (file, line) in missing.items():
            version = await newest(session, tenant_id=tenant_id, name=other, drafts=drafts)
            if version is None:
                kind = "" if drafts else "published "
                raise TemplateError(
                    f"it takes in the template {other!r}, of which there is no {kind}version.",
                    file=file,
                    line=line,
                    mend=f"Push {'' if drafts else 'and publish '}{other!r} first.",
                )
            pins[other] = version.version
            gathered |= template_files(other, version.files)
    compiled, variables = compile_bundle(name, gathered, manifest)
    used = {file.partition("/")[0] for file in compiled}
    return Bundle(
        files=compiled,
        pins={other: version for other, version in sorted(pins.items()) if other in used},
        variables=variables,
    )


async def newest(
    session: AsyncSession, *, tenant_id: int, name: str, drafts: bool
) -> TemplateVersion | None:
    """The newest published version of a template, with ``drafts`` the newest not archived."""
    states = [TemplateState.PUBLISHED, *([TemplateState.DRAFT] if drafts else [])]
    query = (
        select(TemplateVersion)
        .join(Template, col(TemplateVersion.template_id) == col(Template.id))
        .where(
            Template.tenant_id == tenant_id,
            Template.name == name,
            col(TemplateVersion.state).in_(states),
        )
        .order_by(col(TemplateVersion.version).desc())
        .limit(1)
    )
    return (await session.exec(query)).one_or_none()
