"""What a campaign file can only be checked for with the tenant's things at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.audience import open_source
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.file import field_error
from ignition_ext.campaigns.paths import resolve_file
from ignition_ext.database import Database
from ignition_ext.errors import (
    CampaignFileError,
    ConfigurationError,
    IgnitionError,
    NotFoundError,
    TemplateError,
)
from ignition_ext.models import Tenant
from ignition_ext.templates import store as templates
from ignition_ext.templates.attachments import load_attachment
from ignition_ext.templates.rendering import TemplateSources
from ignition_ext.templates.rendering.variables import check_variables
from ignition_ext.tenants import get_tenant
from ignition_ext.values import Channel

ADDRESS_COLUMNS = {Channel.EMAIL: "email", Channel.SMS: "phone"}
"""Where a channel's addresses stand, as sources spell it; a run would skip every recipient."""


class Blame:
    """Names the file and line of a field for a problem found outside of the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.resolve().parent

    def on(self, error: IgnitionError, *field: str | int) -> CampaignFileError:
        """The error as one of the campaign file, at the line of ``field``."""
        return field_error(self.file, field, error.message, error.mend)


async def check_against_tenant(
    database: Database, definition: CampaignDefinition, *, file: Path
) -> Tenant:
    """Check tenant, files, template and audience; returns the tenant. Writes nothing.

    Raises:
        CampaignFileError: one of them is not there or does not fit, with the line that names it.
    """
    blame = Blame(file)
    async with database.read() as session:
        try:
            tenant = await get_tenant(session, definition.tenant)
        except NotFoundError as error:
            raise blame.on(error, "tenant") from error
    _check_attachments(definition, blame)
    columns = await _columns(database, tenant, definition, blame)
    async with database.read() as session:
        await _check_template(session, tenant, definition, columns, blame)
    return tenant


def _check_attachments(definition: CampaignDefinition, blame: Blame) -> None:
    for index, name in enumerate(definition.attachments):
        try:
            load_attachment(resolve_file(blame.folder, name))
        except ConfigurationError as error:
            raise blame.on(error, "attachments", index) from error


async def _columns(
    database: Database, tenant: Tenant, definition: CampaignDefinition, blame: Blame
) -> Sequence[str] | None:
    """The audience's columns; None for a query, which is only asked when the campaign runs."""
    spec = definition.audience
    if spec.sql is not None:
        return None
    field = "name" if spec.csv is None else "csv"
    try:
        if spec.csv is not None:
            resolve_file(blame.folder, spec.csv)
        async with open_source(
            database,
            tenant=tenant,
            spec=spec,
            base_path=blame.folder,
            resolve_block=_no_block,
            rejects=None,
        ) as source:
            return _addressed(tuple(source.columns), definition)
    except IgnitionError as error:
        raise blame.on(error, "audience", field) from error


def _addressed(columns: Sequence[str], definition: CampaignDefinition) -> Sequence[str]:
    for needed in (ADDRESS_COLUMNS[channel] for channel in definition.legs):
        if needed not in columns:
            raise ConfigurationError(
                f"it has no column {needed}, which {definition.channel} needs;"
                f" it has {', '.join(columns)}.",
                mend=f"Name the column with the addresses {needed}.",
            )
    return columns


async def _no_block(name: str) -> str:
    raise ConfigurationError(f"the block {name!r} is not needed to read columns.")


async def _check_template(
    session: AsyncSession,
    tenant: Tenant,
    definition: CampaignDefinition,
    columns: Sequence[str] | None,
    blame: Blame,
) -> None:
    assert tenant.id is not None
    try:
        stored = await templates.load(session, tenant_id=tenant.id, reference=definition.template)
        for channel in definition.legs:
            if channel not in stored.sources.channels:
                raise ConfigurationError(
                    f"the template {definition.template} has no files for {channel}.",
                    mend="An email needs subject.txt and body.html or body.txt, an SMS sms.txt.",
                )
        if columns is not None:
            _check_variables(stored.sources, columns, definition)
    except IgnitionError as error:
        raise blame.on(error, "template") from error


def _check_variables(
    sources: TemplateSources, columns: Sequence[str], definition: CampaignDefinition
) -> None:
    problems = [
        problem
        for channel in definition.legs
        for problem in check_variables(sources, columns, channel=channel)
    ]
    if not problems:
        return
    first, *others = problems
    names = sorted({problem.name for problem in others} - {first.name})
    more = f" (and {', '.join(names)})" if names else ""
    raise TemplateError(
        f"needs the column {first.name!r}{more}, the audience has {', '.join(columns)}.",
        template=sources.name,
        file=first.file,
        line=first.line,
        mend="Add the column, or a default to template.yaml and publish the template again.",
    )
