"""Rows of the outbox as Prefect's events: their resources, and what is gathered."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from ignition_ext.orchestration.outcome_events import prefect_events
from ignition_ext.outcomes import EventName

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def row(name: EventName, subject: str, **payload: Any) -> Any:
    return SimpleNamespace(
        id=uuid4(), tenant="acme", name=name.value, subject=subject, payload=payload, at=NOW
    )


def test_an_event_is_about_its_campaign_or_its_subject() -> None:
    """So that automations can match what runs tell themselves, and a single thing."""
    flow_run = str(uuid4())
    rows = [
        row(EventName.MESSAGE_SENT, "run:1", campaign="acme/news", flow_run_id=flow_run, count=5),
        row(EventName.RECIPIENT_OPTED_OUT, "recipient:17"),
        row(EventName.MESSAGE_FAILED, "messages", campaign=None),
    ]

    sent, out, failed = prefect_events(rows)

    assert [event.resource.id for event in (sent, out, failed)] == [
        "ignition.campaign.acme.news",
        "ignition.recipient.acme.17",
        "ignition.tenant.acme.messages",
    ]
    assert [one.id for one in sent.related] == [
        "ignition.tenant.acme",
        f"prefect.flow-run.{flow_run}",
    ]
    assert (sent.id, sent.event, sent.occurred) == (rows[0].id, "ignition.message.sent", NOW)
    assert sent.payload["count"] == 5


def test_opens_and_clicks_are_gathered_by_campaign() -> None:
    """One event with a count, whose id is the same when the same ones are told again."""
    opened = [
        row(EventName.EMAIL_OPENED, f"message:{number}", campaign="acme/news")
        for number in range(30)
    ]
    other = row(EventName.EMAIL_OPENED, "message:99", campaign="acme/other")
    clicked = row(EventName.EMAIL_CLICKED, "message:1", campaign="acme/news")

    events = list(prefect_events([*opened, other, clicked]))

    assert [
        (event.event, event.payload["campaign"], event.payload["count"]) for event in events
    ] == [
        ("ignition.email.clicked", "acme/news", 1),
        ("ignition.email.opened", "acme/news", 30),
        ("ignition.email.opened", "acme/other", 1),
    ]
    assert events[1].payload["examples"] == [f"message:{number}" for number in range(5)]
    again = list(prefect_events([*opened, other, clicked]))
    assert [event.id for event in again] == [event.id for event in events]
