"""Pages that runs leave in Prefect, for those who are at a terminal."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)


async def dry_run_report(client: PrefectClient, flow_run_id: UUID) -> str:
    """The page of a dry run in Markdown; empty when it ended before it made one."""
    found = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]),
            type=ArtifactFilterType(any_=["markdown"]),
        )
    )
    return str(found[0].data) if found else ""
