"""``ignition schedule pause`` and ``resume``: whether campaigns start by themselves."""

from __future__ import annotations

from ignition_ext.campaigns.selection import select_campaigns
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.cli.bulk import DryRun, Json, selected, tell_items
from ignition_ext.cli.context import actor, open_database
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.operations import in_turn
from ignition_ext.orchestration.schedule_control import set_paused


async def pause(
    campaign: str | None = None,
    *,
    tenant: str | None = None,
    tag: str | None = None,
    schedule: str | None = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Keep campaigns from starting by themselves. Runs under way go on; applying changes nothing.

    Args:
        campaign: TENANT/NAME, or a pattern such as 'acme/news-*'.
        tenant: This tenant's campaigns.
        tag: Campaigns with this tag.
        schedule: Only this schedule of theirs, as Prefect calls it: cron-1.
        dry_run: Say what would be done, and change nothing.
        json: Print one JSON document.
    """
    return await _set(campaign, tenant, tag, schedule, True, dry_run, json)


async def resume(
    campaign: str | None = None,
    *,
    tenant: str | None = None,
    tag: str | None = None,
    schedule: str | None = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Let campaigns start by themselves again.

    Args:
        campaign: TENANT/NAME, or a pattern such as 'acme/news-*'.
        tenant: This tenant's campaigns.
        tag: Campaigns with this tag.
        schedule: Only this schedule of theirs, as Prefect calls it: cron-1.
        dry_run: Say what would be done, and change nothing.
        json: Print one JSON document.
    """
    return await _set(campaign, tenant, tag, schedule, False, dry_run, json)


async def _set(
    campaign: str | None,
    tenant: str | None,
    tag: str | None,
    schedule: str | None,
    paused: bool,
    dry_run: bool,
    json: bool,
) -> int:
    selection = selected(campaign, tenant, tag)
    async with open_database() as database, prefect_client() as client:
        async with database.read() as session:
            found = await select_campaigns(session, selection)

        async def one(campaign: StoredCampaign) -> str:
            return await set_paused(
                database,
                client,
                campaign,
                paused=paused,
                slug=schedule,
                actor=actor(),
                dry_run=dry_run,
            )

        items = await in_turn(found, lambda campaign: campaign.reference, one)
    return tell_items(items, json=json)
