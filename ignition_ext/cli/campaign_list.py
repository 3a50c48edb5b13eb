"""``ignition campaign list`` and ``show``: from the database alone, Prefect may be away."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from ignition_ext.campaigns import store
from ignition_ext.cli.context import open_database
from ignition_ext.cli.output import out, print_json, print_table

Json = Annotated[bool, Parameter(negative="")]


async def list_campaigns(*, tenant: str | None = None, json: Json = False) -> None:
    """List the campaigns in force.

    Args:
        tenant: Only this tenant's.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        rows = [_row(stored) for stored in await store.list_campaigns(session, tenant=tenant)]
    if json:
        print_json(rows)
    else:
        print_table(rows, "campaign", "channel", "template", "block", "schedules", "version")


def _row(stored: store.StoredCampaign) -> dict[str, Any]:
    definition = stored.definition
    return {
        "campaign": stored.reference,
        "channel": definition.channel,
        "template": definition.template,
        "block": definition.block,
        "schedules": sum(schedule.active for schedule in definition.schedules),
        "version": stored.version,
        "updated_at": stored.campaign.updated_at,
        "deployment_id": stored.campaign.prefect_deployment_id,
    }


async def show(campaign: str, *, json: Json = False) -> None:
    """Show a campaign as its file said it, with the version in force.

    Args:
        campaign: TENANT/NAME.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        stored = await store.load(session, campaign)
    definition = stored.definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if json:
        print_json({**_row(stored), "base_path": stored.base_path, "definition": definition})
        return
    out.print(f"# version {stored.version}, files from {stored.base_path}", markup=False)
    text = yaml.safe_dump(definition, sort_keys=False, allow_unicode=True)
    out.print(text, markup=False, end="", soft_wrap=True)
