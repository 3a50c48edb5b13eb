"""Prefect events of campaigns, for automations: ``ignition.campaign.completed`` and others.

docs/runs.md lists them. They are sent in the background: an event that is lost never disturbs a
run, and whoever needs exact numbers asks the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from prefect.events import emit_event

from ignition_ext.values import Channel, MessageState


class CampaignEvent(StrEnum):
    """The names of Ignition's events."""

    STARTED = "ignition.campaign.started"
    BATCH_SENT = "ignition.message-batch.sent"
    COMPLETED = "ignition.campaign.completed"
    FAILED = "ignition.campaign.failed"
    CANCELLED = "ignition.campaign.cancelled"
    SKIPPED = "ignition.campaign.skipped"


class ServerEvent(StrEnum):
    """The names of events about servers."""

    OPENED = "ignition.server.circuit-opened"
    CLOSED = "ignition.server.circuit-closed"


def tell_server(
    event: ServerEvent, *, server: str, flow_run_id: UUID | None = None, **facts: Any
) -> None:
    """Emit one event about a server; ``facts`` are its payload."""
    related = []
    if flow_run_id is not None:
        related.append(
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run_id}",
                "prefect.resource.role": "flow-run",
            }
        )
    emit_event(
        event=event.value,
        resource={
            "prefect.resource.id": f"ignition.server.{server}",
            "prefect.resource.name": server,
        },
        related=related,
        payload=facts,
    )


def resource_id(reference: str) -> str:
    """``ignition.campaign.acme.newsletter`` for ``acme/newsletter``."""
    return f"ignition.campaign.{reference.replace('/', '.')}"


def tell(
    event: CampaignEvent,
    *,
    reference: str,
    channel: Channel | str,
    run_id: UUID,
    flow_run_id: UUID | None,
    counts: Mapping[MessageState, int] | None = None,
    **facts: Any,
) -> None:
    """Emit one event about a campaign; ``counts`` and ``facts`` are its payload."""
    tenant = reference.partition("/")[0]
    related = [
        {
            "prefect.resource.id": f"ignition.tenant.{tenant}",
            "prefect.resource.role": "tenant",
            "prefect.resource.name": tenant,
        }
    ]
    if flow_run_id is not None:
        related.append(
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run_id}",
                "prefect.resource.role": "flow-run",
            }
        )
    emit_event(
        event=event.value,
        resource={
            "prefect.resource.id": resource_id(reference),
            "prefect.resource.name": reference,
            "ignition.channel": str(channel),
        },
        related=related,
        payload={
            "run_id": str(run_id),
            "counts": {state.value: count for state, count in (counts or {}).items() if count},
            **facts,
        },
    )
