"""``ignition campaign pause``, ``resume``, ``cancel`` and ``move``: steering runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter
from prefect.client.orchestration import PrefectClient

from ignition_ext.campaigns.selection import Selection, select_campaigns
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.cli.bulk import DryRun, Json, moment, selected, tell_items
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json
from ignition_ext.database import Database
from ignition_ext.errors import IgnitionError
from ignition_ext.orchestration import runs
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.operations import Item, in_turn
from ignition_ext.orchestration.run_operations import begun_runs, due_runs, move_run
from ignition_ext.orchestration.steps import require_decision
from ignition_ext.values import RunState


async def pause(
    run: str | None = None,
    *,
    tenant: str | None = None,
    tag: str | None = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Stop sending without ending the run. (`ignition schedule pause` keeps runs from starting.)

    Args:
        run: A run's id, a flow run's id, TENANT/NAME for the campaign's latest run, or a pattern
            such as 'acme/news-*' for all open runs of these campaigns.
        tenant: The open runs of this tenant's campaigns.
        tag: The open runs of campaigns with this tag.
        dry_run: Of several: say what would be done, and change nothing.
        json: Print one JSON document.
    """
    selection = selected(run, tenant, tag)
    async with open_database() as database:
        if selection.is_bulk:
            found = await _runs(database, selection, RunState.OPEN)
            items = await in_turn(found, str, partial(_pause, database, dry_run))
            return tell_items(items, json=json)
        assert run is not None
        row = await runs.pause(database, run, actor=actor())
    return _tell(row.id, run, "paused", json)


async def _pause(database: Database, dry_run: bool, run: UUID) -> str:
    if not dry_run:
        await runs.pause(database, str(run), actor=actor())
    return "would be paused" if dry_run else "paused"


async def resume(
    run: str | None = None,
    *,
    tenant: str | None = None,
    tag: str | None = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Let a paused run go on.

    One that stopped by itself is refused: it wants a decision, `ignition campaign approve`.

    Args:
        run: A run's id, a flow run's id, TENANT/NAME for the campaign's latest run, or a pattern
            such as 'acme/news-*' for all paused runs of these campaigns.
        tenant: The paused runs of this tenant's campaigns.
        tag: The paused runs of campaigns with this tag.
        dry_run: Of several: say what would be done, and change nothing.
        json: Print one JSON document.
    """
    selection = selected(run, tenant, tag)
    async with open_database() as database:
        if selection.is_bulk:
            found = await _runs(database, selection, RunState.PAUSED)
            items = await in_turn(found, str, partial(_resume, database, dry_run))
            return tell_items(items, json=json)
        assert run is not None
        run_id = await _resume_one(database, run)
    return _tell(run_id, run, "open", json)


async def _resume(database: Database, dry_run: bool, run: UUID) -> str:
    if not dry_run:
        await _resume_one(database, str(run))
    return "would be resumed" if dry_run else "resumed"


async def _resume_one(database: Database, run: str) -> UUID:
    await require_decision(database, run)
    row = await runs.resume(database, run, actor=actor())
    try:
        async with prefect_client() as client:
            await runs.wake_all(database, client, row)
    except IgnitionError as error:
        note(f"{error.message} Should the run wait there, it looks again within five minutes.")
    return row.id


async def cancel(
    run: str | None = None,
    *,
    tenant: str | None = None,
    tag: str | None = None,
    scheduled: Annotated[bool, Parameter(negative="")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """End a run: nothing more is sent, the rest is accounted for as cancelled.

    Args:
        run: A run's id, a flow run's id, TENANT/NAME for the campaign's latest run, or a pattern
            such as 'acme/news-*' for all runs of these campaigns that are open or due.
        tenant: The runs of this tenant's campaigns.
        tag: The runs of campaigns with this tag.
        scheduled: Of several campaigns: also the runs that are scheduled for later.
        dry_run: Of several: say what would be done, and change nothing.
        json: Print one JSON document.
    """
    selection = selected(run, tenant, tag)
    async with open_database() as database, prefect_client() as client:
        if selection.is_bulk:
            async with database.read() as session:
                campaigns = await select_campaigns(session, selection)
            items = await _cancel_all(database, client, campaigns, scheduled, dry_run)
            return tell_items(items, json=json)
        assert run is not None
        run_id = await runs.cancel(database, client, run, actor=actor())
    return _tell(run_id, run, "cancelled", json)


async def _cancel_all(
    database: Database,
    client: PrefectClient,
    campaigns: Sequence[StoredCampaign],
    scheduled: bool,
    dry_run: bool,
) -> list[Item]:
    items: list[Item] = []

    async def one(run: UUID) -> str:
        if not dry_run:
            await runs.cancel(database, client, str(run), actor=actor())
        return "would be cancelled" if dry_run else "cancelled"

    for campaign in campaigns:
        found = await begun_runs(database, campaign)
        found += await due_runs(database, client, campaign, and_scheduled=scheduled)
        items += await in_turn(found, str, one)
    return items


async def move(run: str, *, at: str, json: Json = False) -> None:
    """Let a scheduled run begin at another time; the old one is left as cancelled.

    Args:
        run: The flow run's id, as the UI shows it under Upcoming.
        at: When, with an offset: 2026-11-21T07:00:00Z.
        json: Print one JSON document.
    """
    when = moment(at)
    assert when is not None
    async with open_database() as database, prefect_client() as client:
        moved = await move_run(database, client, run, when, actor=actor())
    if json:
        print_json({"flow_run_id": moved.id, "moved_from": run, "scheduled_at": when})
    else:
        note(f"The run is {moved.id} now and begins at {when:%Y-%m-%d %H:%M:%S} UTC.")


async def _runs(database: Database, selection: Selection, state: RunState) -> list[UUID]:
    async with database.read() as session:
        campaigns = await select_campaigns(session, selection)
    return [run for one in campaigns for run in await begun_runs(database, one, [state])]


def _tell(run_id: UUID | None, reference: str, state: str, json: bool) -> int:
    if json:
        print_json({"run_id": run_id, "reference": reference, "state": state})
    else:
        note(f"The run {run_id or reference} is {state}.")
    return 0
