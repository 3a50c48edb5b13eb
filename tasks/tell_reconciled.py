"""Shows what was mended as an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

KEY = "reconcile"
AT_LEAST_EVERY = timedelta(hours=1)
"""Where there is nothing to tell; once a minute would be a thousand artifacts a day."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def tell_reconciled(done: Mapping[str, Mapping[str, str]], failed: Mapping[str, str]) -> bool:
    """Write the artifact, if something was done or failed, or the last one is an hour old."""
    if not failed and not any(done.values()) and not await _is_time():
        return False
    await acreate_markdown_artifact(
        markdown=reconciled_markdown(done, failed),
        key=KEY,
        description="What reconcile found to do.",
    )
    return True


async def _is_time() -> bool:
    async with get_client() as client:
        known = await client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[KEY]))
        )
    at = max((one.updated for one in known if one.updated), default=None)
    return at is None or datetime.now(UTC) - at > AT_LEAST_EVERY


def reconciled_markdown(done: Mapping[str, Mapping[str, str]], failed: Mapping[str, str]) -> str:
    """A table for each part that had something to do."""
    lines = ["# Reconcile", ""]
    for name, error in failed.items():
        lines += [f"**{name}: failed.** {error}", ""]
    for name, found in done.items():
        if found:
            lines += [f"## {name}", "", "| what | done |", "|---|---|"]
            lines += [f"| {_cell(what)} | {_cell(words)} |" for what, words in found.items()]
            lines.append("")
    quiet = [name for name, found in done.items() if not found]
    if quiet:
        lines.append(f"Nothing to do: {', '.join(quiet)}.")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
