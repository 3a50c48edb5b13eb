"""``ignition campaign priority`` and ``history``, ``ignition schedule change``: edits in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from cyclopts import Group, Parameter
from cyclopts.types import PositiveInt
from cyclopts.validators import LimitedChoice

from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import Priority
from ignition_ext.campaigns.selection import Selection, select_campaigns
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.cli.bulk import DryRun, Json, selected, tell_items
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import jsonable, print_json, print_table
from ignition_ext.errors import NotFoundError
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.edits import changed_schedules, edit
from ignition_ext.orchestration.operations import in_turn

_ONE = Group("One of", validator=LimitedChoice(1, 1), sort_key=0)
Kind = Annotated[str | None, Parameter(group=_ONE)]
Expect = Annotated[int | None, Parameter(name="--expect-version")]


async def priority(
    campaign: str | None = None,
    /,
    *,
    to: Priority,
    tenant: str | None = None,
    tag: str | None = None,
    expect_version: Expect = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Let campaigns' runs wait in another queue from now on, as a new version of each.

    Args:
        campaign: TENANT/NAME, or a pattern such as 'acme/news-*'.
        to: high, default or low.
        tenant: This tenant's campaigns.
        tag: Campaigns with this tag.
        expect_version: The version that you looked at; refused if someone changed it since.
        dry_run: Say what would be done, and change nothing.
        json: Print one JSON document.
    """
    selection = selected(campaign, tenant, tag)
    return await _edit(
        selection, lambda _: {"priority": to.value}, expect_version, dry_run=dry_run, json=json
    )


async def change(
    campaign: str | None = None,
    /,
    *,
    schedule: str,
    cron: Kind = None,
    quartz: Kind = None,
    rrule: Kind = None,
    interval: Kind = None,
    timezone: str | None = None,
    tenant: str | None = None,
    tag: str | None = None,
    expect_version: Expect = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Give one schedule of a campaign another expression, as a new version of the campaign.

    Args:
        campaign: TENANT/NAME, or a pattern such as 'acme/news-*'.
        schedule: Which one, as Prefect calls it: cron-1.
        cron: Five fields.
        quartz: Six or seven fields, seconds first.
        rrule: A rule of RFC 5545.
        interval: Such as 6h.
        timezone: IANA name; the schedule's own stays when not given.
        tenant: This tenant's campaigns.
        tag: Campaigns with this tag.
        expect_version: The version that you looked at; refused if someone changed it since.
        dry_run: Say what would be done, and change nothing.
        json: Print one JSON document.
    """
    given = {"cron": cron, "quartz": quartz, "rrule": rrule, "interval": interval}
    written = {key: value for key, value in given.items() if value is not None}
    if timezone is not None:
        written["timezone"] = timezone
    return await _edit(
        selected(campaign, tenant, tag),
        lambda stored: {"schedules": changed_schedules(stored, schedule, written)},
        expect_version,
        dry_run=dry_run,
        json=json,
    )


async def _edit(
    selection: Selection,
    changes: Callable[[StoredCampaign], Mapping[str, Any]],
    expected: int | None,
    *,
    dry_run: bool,
    json: bool,
) -> int:
    async with open_database() as database, prefect_client() as client:
        async with database.read() as session:
            found = await select_campaigns(session, selection)

        async def one(stored: StoredCampaign) -> str:
            return await edit(
                database,
                client,
                stored,
                changes(stored),
                actor=actor(),
                expected=expected,
                dry_run=dry_run,
            )

        items = await in_turn(found, lambda stored: stored.reference, one)
    return tell_items(items, json=json)


async def history(campaign: str, *, lines: PositiveInt = 20, json: Json = False) -> None:
    """Show who changed a campaign and when, the newest first; also of one that was deleted.

    Args:
        campaign: TENANT/NAME.
        lines: At most so many.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        found = await store.history(session, campaign, limit=lines)
    if not found:
        raise NotFoundError(
            f"there never was a campaign {campaign}.", mend="Run: ignition campaign list"
        )
    if json:
        print_json(found)
        return
    rows = [
        {**jsonable(one), "at": f"{one.at:%Y-%m-%d %H:%M:%S} UTC", "changed": " ".join(one.changed)}
        for one in found
    ]
    print_table(rows, "at", "actor", "action", "version", "changed")
