"""Pausing and resuming what starts a campaign by itself, in Prefect; audited here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse

from ignition_ext import audit
from ignition_ext.campaigns.schedule import main_slug
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, NotFoundError
from ignition_ext.orchestration.deployments import deployment_name, find_deployment

PREFECT_SECONDS = 20.0
"""How long Prefect may take while the audit log is locked: less than others wait for SQLite."""


async def required_deployment(client: PrefectClient, reference: str) -> DeploymentResponse:
    """A campaign's deployment.

    Raises:
        ConfigurationError: it is not on this Prefect server.
    """
    deployment = await find_deployment(client, deployment_name(reference))
    if deployment is None:
        raise ConfigurationError(
            f"the campaign {reference} has no deployment on this Prefect server.",
            mend="Apply its file again: ignition campaign apply FILE",
        )
    return deployment


async def set_paused(
    database: Database,
    client: PrefectClient,
    campaign: StoredCampaign,
    *,
    paused: bool,
    slug: str | None,
    actor: str,
    dry_run: bool = False,
) -> str:
    """Stop a campaign's schedules, or one of them, from starting runs, or let them; what was done.

    Pausing takes the runs away that they have scheduled; runs under way go on. Applying a file
    changes nothing of it.

    Raises:
        ConfigurationError: the campaign has no deployment on this Prefect server.
        NotFoundError: it has no schedule of that slug.
    """
    deployment = await required_deployment(client, campaign.reference)
    parts = [] if slug is None else _parts(deployment, slug)
    is_paused = not any(part.active for part in parts) if parts else deployment.paused
    what = f"the schedule {slug}" if parts else "the campaign"
    word = "paused" if paused else "resumed"
    if is_paused == paused:
        return f"{what} was {'paused' if paused else 'not paused'} already"
    if dry_run:
        return f"{what} would be {word}"
    async with database.write() as session:
        await audit.record(
            session,
            tenant_id=campaign.campaign.tenant_id,
            actor=actor,
            action=f"campaign.schedules_{word}",
            subject=f"campaign:{campaign.campaign.name}",
            before={"paused": is_paused},
            after={"paused": paused} | ({"schedule": slug} if slug else {}),
        )
        async with asyncio.timeout(PREFECT_SECONDS):
            await _switch(client, deployment, parts, paused)
    return f"{what} is {word}"


async def _switch(
    client: PrefectClient,
    deployment: DeploymentResponse,
    parts: Sequence[DeploymentSchedule],
    paused: bool,
) -> None:
    for part in parts:
        await client.update_deployment_schedule(deployment.id, part.id, active=not paused)
    if not parts and paused:
        await client.pause_deployment(deployment.id)
    elif not parts:
        await client.resume_deployment(deployment.id)


def _parts(deployment: DeploymentResponse, slug: str) -> list[DeploymentSchedule]:
    """What Prefect has for one schedule of the file: some are several there."""
    if found := [part for part in deployment.schedules if main_slug(part.slug) == slug]:
        return found
    known = ", ".join(sorted({main_slug(part.slug) for part in deployment.schedules}))
    raise NotFoundError(
        f"there is no schedule {slug!r}.", mend=f"It has {known}." if known else "It has none."
    )
