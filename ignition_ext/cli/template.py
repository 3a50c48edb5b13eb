"""``ignition template``: what messages say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, out, print_json, print_table
from ignition_ext.cli.template_preview import Preview, make_preview, read_data
from ignition_ext.models import TemplateVersion, Tenant
from ignition_ext.templates import store
from ignition_ext.tenants import get_tenant

app = App(name="template", help="Templates: pushed as drafts, published as fixed versions.")

Json = Annotated[bool, Parameter(negative="")]
Flag = Annotated[bool, Parameter(negative="")]


@app.command
async def push(folder: Path, /, *, tenant: str, publish: Flag = False, json: Json = False) -> None:
    """Store a template's folder, or a folder of templates, as drafts.

    Templates that others take in are stored before them; either all are stored or none.

    Args:
        folder: A folder with subject.txt, body.html, body.txt, sms.txt, template.yaml; or one
            with several such folders.
        tenant: Whose templates they are.
        publish: Publish them too.
        json: Print one JSON document.
    """
    async with open_database() as database:
        results = await store.push_all(
            database, tenant=tenant, folder=folder, actor=actor(), publish=publish
        )
    _tell(results, json)


@app.command(name="list")
async def list_(*, tenant: str, json: Json = False) -> None:
    """List a tenant's templates with their versions and states.

    Args:
        tenant: Whose templates.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        tenant_id = _id(await get_tenant(session, tenant))
        templates = await store.list_templates(session, tenant_id=tenant_id)
    rows = [_summary(name, row) for name, versions in templates for row in versions]
    if json:
        print_json(rows)
    else:
        print_table(rows, "name", "version", "state", "description", "published_at")


@app.command
async def show(
    name: str, /, *, tenant: str, version: int | None = None, json: Json = False
) -> None:
    """Show one version: its files, what it takes in, the columns it needs.

    Args:
        name: The template.
        tenant: Whose template.
        version: Its number; the newest when not given.
        json: Print one JSON document, with the files' texts.
    """
    async with open_database() as database, database.read() as session:
        tenant_id = _id(await get_tenant(session, tenant))
        rows = await store.versions(session, tenant_id=tenant_id, name=name)
        row = rows[-1] if version is None else store.pick(rows, name, version)
    compiled = row.compiled or {}
    details = {
        **_summary(name, row),
        "variables": row.variables,
        "pins": compiled.get("pins", {}),
        "settings": row.settings,
        "files": row.files,
    }
    if json:
        print_json(details)
        return
    details |= {
        "variables": ", ".join(row.variables),
        "pins": ", ".join(f"{other}@{number}" for other, number in details["pins"].items()),
        "files": ", ".join(row.files),
    }
    del details["settings"]
    print_table([{"field": key, "value": value} for key, value in details.items()])


@app.command
async def preview(
    name: str,
    /,
    *,
    tenant: str,
    data: Path | None = None,
    version: int | None = None,
    locale: str | None = None,
    timezone: str | None = None,
    output: Path | None = None,
    json: Json = False,
) -> None:
    """Render a template for one made-up recipient, drafts too; sends nothing.

    Args:
        name: The template.
        tenant: Whose template.
        data: The recipient: a JSON or YAML mapping, or a CSV file's first row; test_data of
            template.yaml when not given.
        version: Its number; the newest when not given.
        locale: The recipient's, such as de-AT; by default that of the data, or the tenant's.
        timezone: The recipient's; by default that of the data, or the tenant's.
        output: Folder to write NAME.html, NAME.txt and NAME.sms.txt to.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        owner = await get_tenant(session, tenant)
        sources = await store.load_newest(session, tenant_id=_id(owner), name=name, version=version)
    recipient = read_data(data) if data else dict(sources.settings.get("test_data") or {})
    made = make_preview(
        sources,
        recipient,
        tenant=owner,
        locale=locale or str(recipient.get("locale") or "") or None,
        timezone=timezone or str(recipient.get("timezone") or "") or None,
    )
    written = made.write(output) if output else []
    if json:
        print_json({**made.document, "written": written})
        return
    _print_preview(made)
    for path in written:
        note(f"Wrote {path}")


@app.command
async def publish(
    name: str, /, *, tenant: str, version: int | None = None, json: Json = False
) -> None:
    """Publish a draft; from then on it never changes.

    Args:
        name: The template.
        tenant: Whose template.
        version: Its number; the newest draft when not given.
        json: Print one JSON document.
    """
    async with open_database() as database:
        result = await store.publish(
            database, tenant=tenant, name=name, version=version, actor=actor()
        )
    _tell([result], json)


@app.command
async def archive(
    name: str, /, *, tenant: str, version: int | None = None, json: Json = False
) -> None:
    """Take a template out of use; runs that began with it go on.

    Args:
        name: The template.
        tenant: Whose template.
        version: Only this version; all of them when not given.
        json: Print one JSON document.
    """
    async with open_database() as database:
        results = await store.archive(
            database, tenant=tenant, name=name, version=version, actor=actor()
        )
    _tell(results, json)


def _tell(results: store.PushResults, json: bool) -> None:
    if json:
        print_json(list(results))
        return
    for result in results:
        unchanged = "" if result.changed else " (unchanged)"
        note(f"{result.name}@{result.version} is {result.state}{unchanged}.")


def _summary(name: str, row: TemplateVersion) -> dict[str, Any]:
    return {
        "name": name,
        "version": row.version,
        "state": row.state,
        "description": row.settings.get("description", ""),
        "digest": row.digest,
        "created_at": row.created_at,
        "published_at": row.published_at,
    }


def _print_preview(made: Preview) -> None:
    document = made.document
    for title in ("subject", "text", "sms"):
        if document[title] is not None:
            out.print(f"{title.capitalize()}:", style="bold")
            out.print(document[title], markup=False, soft_wrap=True)
    if document["segments"]:
        encoding = document["encoding"]
        note(f"{len(document['segments'])} segment(s), {document['units']} units of {encoding}:")
        for number, text in enumerate(document["segments"], 1):
            note(f"  {number}: {text}")


def _id(tenant: Tenant) -> int:
    assert tenant.id is not None
    return tenant.id
