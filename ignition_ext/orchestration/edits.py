"""Changes single keys of campaigns in force, as a new version that whoever looks can see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient
from pydantic import ValidationError

from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.schedule import schedule_slug
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.campaigns.written_schedules import KINDS, OWN_WORDS
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, NotFoundError
from ignition_ext.orchestration.apply import Plan, carry_out
from ignition_ext.orchestration.deployments import campaign_deployment

EXPRESSION = frozenset(KINDS) | OWN_WORDS
"""What says when a schedule fires; zone, condition and the rest stay with another expression."""


async def edit(
    database: Database,
    client: PrefectClient,
    campaign: StoredCampaign,
    changes: Mapping[str, Any],
    *,
    actor: str,
    expected: int | None = None,
    dry_run: bool = False,
) -> str:
    """Write a version in which these top-level keys say something else; what was done.

    Args:
        database: Ignition's.
        client: of the Prefect server.
        campaign: as it was read; somebody's change since then is not overwritten.
        changes: keys of the campaign file and what they shall say.
        actor: for the audit log.
        expected: the version that the operator looked at; None for the one that was read.
        dry_run: only check.

    Raises:
        ConfigurationError: the campaign cannot say that.
        ConflictError: it is at another version than expected.
    """
    said = campaign.definition.model_dump(mode="json", by_alias=True)
    try:
        definition = CampaignDefinition.model_validate({**said, **changes})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"{campaign.reference}: {place}: {first['msg']}.", mend="Nothing was changed."
        ) from error
    if definition == campaign.definition:
        return "says so already"
    if dry_run:
        return f"version {campaign.version + 1} would be stored"
    planned = Plan(
        # The file that it came from is the operator's; it is not touched.
        file=campaign.base_path / f"{campaign.campaign.name}.yaml",
        definition=definition,
        tenant=campaign.tenant,
        deployment=campaign_deployment(definition, timezone=campaign.tenant.timezone),
    )
    result = await carry_out(
        database,
        client,
        planned,
        actor=actor,
        expected=campaign.version if expected is None else expected,
    )
    return f"version {result.version} stored"


def changed_schedules(
    campaign: StoredCampaign, slug: str, written: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The campaign's schedules with another expression for the one of that slug.

    Raises:
        NotFoundError: it has no schedule of that slug.
    """
    specs = campaign.definition.schedules
    slugs = [schedule_slug(number, spec) for number, spec in enumerate(specs, start=1)]
    if slug not in slugs:
        raise NotFoundError(
            f"{campaign.reference} has no schedule {slug!r}.",
            mend=f"It has {', '.join(slugs)}." if slugs else "It has none.",
        )
    said = [spec.model_dump(mode="json", exclude_none=True) for spec in specs]
    at = slugs.index(slug)
    kept = {key: value for key, value in said[at].items() if key not in EXPRESSION}
    said[at] = {**kept, **written}
    return said
