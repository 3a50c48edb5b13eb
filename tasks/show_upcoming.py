"""Shows in Prefect's UI what will run within its horizon: one artifact, kept up to date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import ArtifactCollection

from ignition_ext.orchestration.upcoming import last_edit, read_upcoming, upcoming_markdown
from tasks.database import open_database

KEY = "upcoming"
AT_LEAST_EVERY = timedelta(hours=1)
"""What is paused in the UI is seen then; the page counts from its own time on."""
AT_MOST_EVERY = timedelta(minutes=5)
"""While campaigns are being edited; thousands take seconds to count."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def show_upcoming() -> Mapping[str, str]:
    """Bring the artifact up to date, if campaigns were edited or it is an hour old.

    Returns:
        Nothing that would have to be told: nothing was mended.
    """
    now = datetime.now(UTC)
    async with open_database() as database, get_client() as client:
        known = await _known(client)
        edited = await last_edit(database)
        if edited is None or (known is not None and not _is_old(known, edited, now)):
            return {}
        page = upcoming_markdown(await read_upcoming(database, client, now=now), now)
        if known is not None and known.latest_id is not None:
            await client.update_artifact(known.latest_id, ArtifactUpdate(data=page))
            return {}
    await acreate_markdown_artifact(
        markdown=page, key=KEY, description="What the schedules of all campaigns will start."
    )
    return {}


async def _known(client: PrefectClient) -> ArtifactCollection | None:
    found = await client.read_latest_artifacts(
        artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[KEY]))
    )
    return found[0] if found else None


def _is_old(known: ArtifactCollection, edited: datetime, now: datetime) -> bool:
    if known.updated is None:
        return True
    age = now - known.updated
    return age > AT_LEAST_EVERY or (edited > known.updated and age > AT_MOST_EVERY)
