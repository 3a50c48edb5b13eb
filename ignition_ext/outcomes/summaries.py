"""Messages' outcomes as Prefect is told them: one event for each run and state, with counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from ignition_ext.outcomes.batches import Group, written
from ignition_ext.values import new_id

MOST_EXAMPLES = 5
"""Ids of messages in an event: enough to look some up, whatever the run's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many of a group changed for one reason, since the last time that was asked."""

    group: Group
    flow_run_id: UUID | None
    failure_class: str | None
    count: int
    first_at: datetime
    last_at: datetime
    examples: Sequence[UUID]


def summaries(counts: Iterable[Count], now: datetime) -> list[dict[str, Any]]:
    """Rows of the outbox for Prefect alone: webhooks are told of each message."""
    ordered = groupby(counts, key=lambda count: count.group)
    return [_row(group, list(parts), now) for group, parts in ordered]


def _row(group: Group, parts: list[Count], now: datetime) -> dict[str, Any]:
    examples = dict.fromkeys(str(one) for part in parts for one in part.examples)
    flow_run_id = parts[0].flow_run_id
    return {
        "id": new_id(),
        "tenant_id": group.tenant_id,
        "name": group.name,
        "subject": "messages" if group.run_id is None else f"run:{group.run_id}",
        "payload": {
            "campaign": group.reference,
            "run_id": None if group.run_id is None else str(group.run_id),
            "flow_run_id": None if flow_run_id is None else str(flow_run_id),
            "channel": group.channel,
            "state": group.state,
            "count": sum(part.count for part in parts),
            "failure_classes": {
                part.failure_class: part.count for part in parts if part.failure_class
            },
            "first_at": written(min(part.first_at for part in parts)),
            "last_at": written(max(part.last_at for part in parts)),
            "examples": list(examples)[:MOST_EXAMPLES],
        },
        "private": {},
        "at": now,
        "routed_at": now,
    }
