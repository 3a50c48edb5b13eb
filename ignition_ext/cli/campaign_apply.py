"""``ignition campaign apply`` and ``delete``: what changes campaigns, here and on Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json
from ignition_ext.errors import ConfigurationError
from ignition_ext.orchestration import apply as orchestration
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.settings import Settings

Json = Annotated[bool, Parameter(negative="")]


async def apply(
    *files: Annotated[Path, Parameter(required=True)],
    json: Json = False,
) -> None:
    """Create or change campaigns as their files say, with their Prefect deployments.

    All files are checked before the first is carried out. The same file again changes nothing.

    Args:
        files: Campaign files, such as deployments/acme/newsletter.yaml.
        json: Print one JSON document with what was done.
    """
    settings = Settings()
    who = actor(settings)
    results = []
    async with open_database(settings) as database, prefect_client() as client:
        plans = []
        for file in files:
            planned = await orchestration.plan(
                database, client, file, environment=settings.environment
            )
            if planned is None:
                note(f"{file}: not meant for the environment {settings.environment!r}, left out.")
            else:
                plans.append(planned)
        _require_distinct(plans)
        for planned in await orchestration.in_chain_order(database, plans):
            result = await orchestration.carry_out(database, client, planned, actor=who)
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


async def delete(campaign: str, *, json: Json = False) -> None:
    """Delete a campaign, its deployment and its scheduled runs. Past runs and messages stay.

    Args:
        campaign: TENANT/NAME.
        json: Print one JSON document with what was done.
    """
    async with open_database() as database, prefect_client() as client:
        removed = await orchestration.delete(database, client, campaign, actor=actor())
    if json:
        print_json({"campaign": campaign, "deleted": True, "deployment_removed": removed})
    else:
        gone = "" if removed else " Its deployment was gone already."
        note(f"{campaign} is deleted.{gone}")
