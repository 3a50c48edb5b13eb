"""``ignition campaign apply`` and ``delete``: what changes campaigns, here and on Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from prefect.client.orchestration import PrefectClient

from ignition_ext.campaigns.chain import in_order
from ignition_ext.campaigns.chain_store import read_graph
from ignition_ext.campaigns.selection import Selection, select_campaigns
from ignition_ext.cli.bulk import DryRun, Json, selected, tell_items, wrong_usage
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError
from ignition_ext.orchestration import apply as orchestration
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.operations import Item, in_turn
from ignition_ext.settings import Settings


async def apply(
    *files: Annotated[Path, Parameter(required=True)],
    expect_version: Annotated[int | None, Parameter(name="--expect-version")] = None,
    json: Json = False,
) -> None:
    """Create or change campaigns as their files say, with their Prefect deployments.

    All files are checked before the first is carried out. The same file again changes nothing.

    Args:
        files: Campaign files, such as deployments/acme/newsletter.yaml.
        expect_version: Of one file: the version that the edit began with, as `show` told it; when
            someone has changed the campaign since, nothing is done and it is said who.
        json: Print one JSON document with what was done.
    """
    if expect_version is not None and len(files) > 1:
        wrong_usage("--expect-version goes with one file: each campaign has versions of its own.")
    settings = Settings()
    who = actor(settings)
    results = []
    async with open_database(settings) as database, prefect_client() as client:
        plans = []
        seen: set[object] = set()
        for file in files:
            planned = await orchestration.plan(
                database, client, file, environment=settings.environment, seen=seen
            )
            if planned is None:
                note(f"{file}: not meant for the environment {settings.environment!r}, left out.")
            else:
                plans.append(planned)
        _require_distinct(plans)
        ordered = await orchestration.in_chain_order(database, plans)
        async for result in orchestration.carry_out_all(
            database, client, ordered, actor=who, expected=expect_version
        ):
            results.append(result)
            if not json:
                note(_words(result))
    if json:
        print_json(results)


def _require_distinct(plans: list[orchestration.Plan]) -> None:
    seen: dict[str, Path] = {}
    for planned in plans:
        reference = planned.definition.reference
        if reference in seen:
            raise ConfigurationError(
                f"{seen[reference]} and {planned.file} both describe {reference}.",
                mend="Change `name:` in one of them.",
            )
        seen[reference] = planned.file


def _words(result: orchestration.Result) -> str:
    did = []
    if result.changed:
        did.append(f"version {result.version} stored")
    if "all" in result.deployment_changed:
        did.append("deployment created")
    elif result.deployment_changed:
        did.append(f"deployment changed ({', '.join(result.deployment_changed)})")
    return f"{result.campaign}: {'; '.join(did) or 'nothing to change'}."


async def delete(
    campaign: str | None = None,
    *,
    tenant: str | None = None,
    tag: str | None = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Delete a campaign, its deployment and its scheduled runs. Past runs and messages stay.

    Args:
        campaign: TENANT/NAME, or a pattern such as 'acme/news-*' for several.
        tenant: This tenant's campaigns.
        tag: Campaigns with this tag.
        dry_run: Of several: say what would be done, and change nothing.
        json: Print one JSON document with what was done.
    """
    selection = selected(campaign, tenant, tag)
    async with open_database() as database, prefect_client() as client:
        if selection.is_bulk:
            items = await _delete_all(database, client, selection, dry_run)
            return tell_items(items, json=json)
        assert campaign is not None
        removed = await orchestration.delete(database, client, campaign, actor=actor())
    if json:
        print_json({"campaign": campaign, "deleted": True, "deployment_removed": removed})
    else:
        gone = "" if removed else " Its deployment was gone already."
        note(f"{campaign} is deleted.{gone}")
    return 0


async def _delete_all(
    database: Database, client: PrefectClient, selection: Selection, dry_run: bool
) -> list[Item]:
    async with database.read() as session:
        found = [stored.reference for stored in await select_campaigns(session, selection)]
        graph = await read_graph(session)

    async def one(reference: str) -> str:
        if dry_run:
            return "would be deleted"
        await orchestration.delete(database, client, reference, actor=actor())
        return "deleted"

    # What comes after others goes first: a campaign with dependents is not deleted.
    return await in_turn(in_order(graph, found)[::-1], str, one)
