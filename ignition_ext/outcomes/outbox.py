"""The outbox: what happened is written down in the transaction that made it so, and told later.

What was announced is told to Prefect and to the tenant's webhooks by ``orchestration.outcomes``
and ``outcomes.sending``, at least once, with the same id each time. docs/events.md lists the names.
Changes of messages' states are not announced by whoever makes them: ``outcomes.messages`` derives
them in batches from what the ledger noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from sqlalchemy import Table, insert
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.models.outcome import OutboxEvent
from ignition_ext.models.types import utc_now
from ignition_ext.values import new_id

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""What a payload may hold: ids and times as text."""

OUTBOX: Table = SQLModel.metadata.tables[str(OutboxEvent.__tablename__)]
SUBJECT_LENGTH = 300
"""The column's length; longer text is cut, for no change may fail over its own description."""


class EventName(StrEnum):
    """The names of outcomes, of Prefect's events and of webhooks alike."""

    MESSAGE_SENT = "ignition.message.sent"
    MESSAGE_DEFERRED = "ignition.message.deferred"
    MESSAGE_DELIVERED = "ignition.message.delivered"
    MESSAGE_FAILED = "ignition.message.failed"
    MESSAGE_BOUNCED = "ignition.message.bounced"
    MESSAGE_COMPLAINED = "ignition.message.complained"
    MESSAGE_SUPPRESSED = "ignition.message.suppressed"
    MESSAGE_UNCERTAIN = "ignition.message.uncertain"
    MESSAGE_CANCELLED = "ignition.message.cancelled"
    MESSAGE_EXPIRED = "ignition.message.expired"
    SMS_RECEIVED = "ignition.sms.received"
    EMAIL_OPENED = "ignition.email.opened"
    EMAIL_CLICKED = "ignition.email.clicked"
    RECIPIENT_OPTED_OUT = "ignition.recipient.opted_out"
    RECIPIENT_OPTED_IN = "ignition.recipient.opted_in"
    RECIPIENT_COMPLAINED = "ignition.recipient.complained"
    RUN_STOPPED = "ignition.run.stopped"
    RUN_WAITING_FOR_APPROVAL = "ignition.run.waiting_for_approval"
    BUDGET_SHORT = "ignition.budget.short"
    BUDGET_WARNING = "ignition.budget.warning"
    BUDGET_EXHAUSTED = "ignition.budget.exhausted"
    CAMPAIGN_STARTED = "ignition.campaign.started"
    CAMPAIGN_COMPLETED = "ignition.campaign.completed"
    CAMPAIGN_FAILED = "ignition.campaign.failed"
    CAMPAIGN_CANCELLED = "ignition.campaign.cancelled"
    CAMPAIGN_SKIPPED = "ignition.campaign.skipped"
    CONFIGURATION_CHANGED = "ignition.configuration.changed"
    WEBHOOK_DISABLED = "ignition.webhook.disabled"
    WEBHOOK_TEST = "ignition.webhook.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One thing that happened.

    Attributes:
        tenant_id: whose it is.
        name: what happened.
        subject: to which thing, ``kind:name``: ``message:<id>``, ``campaign:welcome``. No address:
            it is shown in Prefect. Longer than 300 characters it is cut.
        payload: the facts. Prefect is told all of them, so no personal data but ids.
        private: further facts for the tenant's webhooks alone, such as an address or a text.
    """

    tenant_id: int
    name: EventName
    subject: str
    payload: Mapping[str, JSON] = field(default_factory=dict)
    private: Mapping[str, JSON] = field(default_factory=dict)


async def announce(
    session: AsyncSession,
    events: Sequence[Announcement],
    *,
    prefect_knows_since: datetime | None = None,
) -> None:
    """Write events into the outbox, in the caller's transaction and with one statement.

    Args:
        session: of ``Database.write()``.
        events: as many as belong to the transaction.
        prefect_knows_since: when Prefect was told otherwise; it is not told again.
    """
    if not events:
        return
    now = utc_now()
    rows = [
        {
            "id": new_id(),
            "tenant_id": event.tenant_id,
            "name": event.name.value,
            "subject": event.subject[:SUBJECT_LENGTH],
            "payload": dict(event.payload),
            "private": dict(event.private),
            "at": now,
            "told_at": prefect_knows_since,
        }
        for event in events
    ]
    await (await session.connection()).execute(insert(OUTBOX), rows)
