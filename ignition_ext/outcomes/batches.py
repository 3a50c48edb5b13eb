"""Messages' outcomes as bodies of webhooks: those of one run that ended alike go together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from ignition_ext.outcomes.interests import Interests
from ignition_ext.outcomes.outbox import JSON
from ignition_ext.outcomes.patterns import matches
from ignition_ext.values import new_id

MOST_OUTCOMES = 100
"""In one body: about 20 kB, which receivers take without a thought and answer within their time."""


class Group(NamedTuple):
    """What the outcomes of one body have in common; a tuple, for each message looks it up."""

    tenant_id: int
    tenant: str
    run_id: UUID | None
    campaign: str | None
    channel: str
    state: str

    @property
    def name(self) -> str:
        """The event's name."""
        return f"ignition.message.{self.state}"

    @property
    def reference(self) -> str | None:
        """``acme/newsletter``; None for a message without a campaign."""
        return None if self.campaign is None else f"{self.tenant}/{self.campaign}"


class Change(NamedTuple):
    """One message's new state; ``seq`` numbers the message's own changes from 1."""

    message_id: str
    seq: int
    at: datetime
    address: str
    attempt: int
    code: str
    failure_class: str | None
    detail: str


def written(moment: datetime) -> str:
    """A time as bodies and payloads hold it: ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def body(name: str, at: datetime, data: Mapping[str, JSON]) -> str:
    """The body of a webhook, as Standard Webhooks lays it out."""
    document = {"type": name, "timestamp": written(at), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def delivery(
    *, endpoint_id: UUID, tenant_id: int, name: str, text: str, outcomes: int, now: datetime
) -> dict[str, Any]:
    """A row of ``webhook_delivery``, due at once."""
    return {
        "id": new_id(),
        "endpoint_id": endpoint_id,
        "tenant_id": tenant_id,
        "name": name,
        "outcomes": outcomes,
        "body": text,
        "next_at": now,
        "created_at": now,
    }


@dataclass(slots=True)
class Batches:
    """Collects changes, and hands out deliveries whenever a body is full.

    It holds at most ``MOST_OUTCOMES`` for each run, state and webhook that is under way.
    """

    interests: Interests
    now: datetime
    _open: dict[Group, list[Change]] = field(default_factory=dict)

    def add(self, group: Group, change: Change) -> Iterator[dict[str, Any]]:
        """Deliveries that are complete with this change."""
        waiting = self._open.setdefault(group, [])
        waiting.append(change)
        if len(waiting) >= MOST_OUTCOMES:
            del self._open[group]
            yield from self._deliveries(group, waiting)

    def rest(self) -> Iterator[dict[str, Any]]:
        """Deliveries of what is left."""
        for group, waiting in self._open.items():
            yield from self._deliveries(group, waiting)
        self._open.clear()

    def _deliveries(self, group: Group, changes: list[Change]) -> Iterator[dict[str, Any]]:
        wanting = [
            interest
            for interest in self.interests.get(group.tenant_id, ())
            if matches(interest.patterns, group.name)
        ]
        if not wanting:
            return
        text = body(group.name, max(change.at for change in changes), _data(group, changes))
        for interest in wanting:
            yield delivery(
                endpoint_id=interest.endpoint_id,
                tenant_id=group.tenant_id,
                name=group.name,
                text=text,
                outcomes=len(changes),
                now=self.now,
            )


def _data(group: Group, changes: Sequence[Change]) -> dict[str, JSON]:
    return {
        "tenant": group.tenant,
        "campaign": group.reference,
        "run_id": None if group.run_id is None else str(group.run_id),
        "channel": group.channel,
        "state": group.state,
        "messages": [
            {
                "message_id": change.message_id,
                "seq": change.seq,
                "address": change.address,
                "at": written(change.at),
                "attempt": change.attempt,
                "code": change.code,
                "failure_class": change.failure_class,
                "detail": change.detail,
            }
            for change in changes
        ],
    }
