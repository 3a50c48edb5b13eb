"""What is told to others: the outbox, how far it was derived, and the webhooks of tenants."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, Uuid
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, enum_check, text, utc_now
from ignition_ext.values import new_id


class EndpointState(StrEnum):
    """Whether a webhook is sent to."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """How far one delivery to a webhook has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class OutboxEvent(SQLModel, table=True):
    """One thing that happened, written in the transaction that made it so.

    ``routed_at`` is empty until it was laid out for the tenant's webhooks, ``told_at`` until
    Prefect has it. An event that is not meant for one of them bears the time from the beginning.
    """

    __tablename__ = "outbox_event"
    __table_args__ = (
        Index(
            "ix_outbox_event_unrouted",
            "id",
            sqlite_where=sql("routed_at IS NULL"),
            postgresql_where=sql("routed_at IS NULL"),
        ),
        Index(
            "ix_outbox_event_untold",
            "id",
            sqlite_where=sql("told_at IS NULL"),
            postgresql_where=sql("told_at IS NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    tenant_id: int
    name: str = Field(sa_type=text(64), description="ignition.recipient.opted_out …")
    subject: str = Field(sa_type=text(300), description="kind:name, such as campaign:welcome.")
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    private: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="Facts that Prefect is not told."
    )
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    routed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    told_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class OutcomeCursor(SQLModel, table=True):
    """How far something that happened elsewhere was turned into outcomes.

    ``name`` is ``messages``, or ``audit:`` and the tenant's id. The row ``prefect`` is a lease
    until its time: one at a time tells Prefect what waits.
    """

    __tablename__ = "outcome_cursor"

    name: str = Field(primary_key=True, sa_type=text(64))
    position: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    moved_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class WebhookEndpoint(SQLModel, table=True):
    """An address of a tenant's that is told of outcomes.

    The secrets are encrypted with a key that is not in the database. ``failures`` counts those in
    a row, ``wait_until`` keeps it from being tried. Whoever sends holds the lease.
    """

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        CheckConstraint(enum_check("state", EndpointState), name="ck_webhook_endpoint_state"),
        Index("ix_webhook_endpoint_tenant", "tenant_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    tenant_id: int = Field(foreign_key="tenant.id")
    url: str = Field(sa_type=text(2000))
    events: list[str] = Field(default_factory=list, sa_type=Json, description="Patterns of names.")
    secret: str = Field(sa_type=text(500))
    old_secret: str = Field(default="", sa_type=text(500))
    old_secret_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    state: str = Field(default=EndpointState.ENABLED, sa_type=text(16))
    reason: str = Field(default="", sa_type=text(500), description="Why it was switched off.")
    failures: int = Field(default=0)
    failing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    wait_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lease_id: UUID | None = Field(default=None, sa_type=Uuid)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WebhookDelivery(SQLModel, table=True):
    """One request to a webhook: its id and body are the same at each attempt.

    The body is emptied when it was delivered: it may hold addresses.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint(enum_check("state", DeliveryState), name="ck_webhook_delivery_state"),
        Index(
            "ix_webhook_delivery_due",
            "endpoint_id",
            "next_at",
            sqlite_where=sql("state = 'pending'"),
            postgresql_where=sql("state = 'pending'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    endpoint_id: UUID = Field(foreign_key="webhook_endpoint.id", sa_type=Uuid)
    tenant_id: int
    name: str = Field(sa_type=text(64), description="ignition.message.sent …")
    outcomes: int = Field(default=1, description="How many the body tells of.")
    body: str = Field(default="", sa_type=Text)
    state: str = Field(default=DeliveryState.PENDING, sa_type=text(16))
    attempts: int = Field(default=0)
    next_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    status: int = Field(default=0, description="Of the last answer; 0 without one.")
    detail: str = Field(default="", sa_type=text(500))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
