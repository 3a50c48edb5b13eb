"""The ledger's tables: messages, SMS parts, every change of state, receipts.

Only ``ignition_ext.ledger`` writes them. Each row has ``tenant_id`` and the partition column
``run_at`` (``received_at`` for receipts), which is part of each unique key.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, Uuid
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, enum_check, text, utc_now
from ignition_ext.values import Channel, MessageState, new_id

_OPEN = sql("state IN ('pending', 'deferred')")
_LEASED = sql("state IN ('claimed', 'sending')")


class Message(SQLModel, table=True):
    """One recipient on one channel in one run (or a single send without a run).

    ``data`` is the recipient as it was at the snapshot, so that a run means the same however
    its audience changes meanwhile. ``attempts`` counts those that the server judged.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("run_id", "channel", "address", "run_at", name="uq_message_address"),
        CheckConstraint(enum_check("state", MessageState), name="ck_message_state"),
        CheckConstraint(enum_check("channel", Channel), name="ck_message_channel"),
        Index(
            "ix_message_claim",
            "run_id",
            "not_before",
            "id",
            postgresql_where=_OPEN,
            sqlite_where=_OPEN,
        ),
        Index(
            "ix_message_lease",
            "run_id",
            "lease_until",
            postgresql_where=_LEASED,
            sqlite_where=_LEASED,
        ),
        Index("ix_message_run_state", "run_id", "state"),
        Index("ix_message_address", "tenant_id", "address"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    run_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int
    run_id: UUID | None = Field(default=None, sa_type=Uuid)
    recipient_id: int | None = Field(default=None)
    idempotency_key: str | None = Field(default=None, sa_type=text(200))
    channel: str = Field(sa_type=text(8))
    address: str = Field(sa_type=text(320))
    domain: str = Field(default="", sa_type=text(255), description="Mail domain or country code.")
    locale: str | None = Field(default=None, sa_type=text(35))
    timezone: str | None = Field(default=None, sa_type=text(64))
    data: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    state: str = Field(default=MessageState.PENDING, sa_type=text(16))
    seq: int = Field(
        default=1,
        sa_column_kwargs={"server_default": "1"},
        description="Changes of state so far: the number of its last event.",
    )
    attempts: int = Field(default=0)
    resends: int = Field(
        default=0,
        sa_column_kwargs={"server_default": "0"},
        description="Times that it went from uncertain to pending: copies that may exist.",
    )
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lease_id: UUID | None = Field(default=None, sa_type=Uuid)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    code: str = Field(default="", sa_type=text(20))
    enhanced: str = Field(default="", sa_type=text(12))
    failure_class: str | None = Field(default=None, sa_type=text(20))
    detail: str = Field(default="", sa_type=text(500))
    provider_id: str = Field(default="", sa_type=text(200))
    parts: int = Field(default=0, description="Segments of an SMS; 0 for email.")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class MessagePart(SQLModel, table=True):
    """One segment of an SMS: one provider id cannot hold the receipts of several parts."""

    __tablename__ = "message_part"
    __table_args__ = (
        CheckConstraint(enum_check("state", MessageState), name="ck_message_part_state"),
        Index("ix_message_part_provider", "bind", "provider_key"),
    )

    message_id: UUID = Field(primary_key=True, sa_type=Uuid)
    part: int = Field(primary_key=True)
    run_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int
    parts: int
    bind: str = Field(default="", sa_type=text(200), description="SMSC and system id it went by.")
    provider_id: str = Field(default="", sa_type=text(100))
    provider_key: str = Field(
        default="",
        sa_type=text(100),
        sa_column_kwargs={"server_default": ""},
        description="The id in one case and without leading zeros, to find it by.",
    )
    state: str = Field(default=MessageState.SENT, sa_type=text(16))
    code: str = Field(default="", sa_type=text(20))
    detail: str = Field(default="", sa_type=text(500))
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class MessageEvent(SQLModel, table=True):
    """One change of a message's state; rows are only added.

    ``seq`` counts from 1 within a message without gaps: order by it, for two changes may bear the
    same time. The id is the message's with ``seq`` in its last 24 bits, so no number comes twice.
    """

    __tablename__ = "message_event"
    __table_args__ = (Index("ix_message_event_message", "message_id", "at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    run_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int
    message_id: UUID = Field(sa_type=Uuid)
    seq: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    at: datetime = Field(sa_type=UtcDateTime)
    old_state: str = Field(default="", sa_type=text(16), description="Empty for the first.")
    new_state: str = Field(sa_type=text(16))
    attempt: int = Field(default=0)
    code: str = Field(default="", sa_type=text(20))
    failure_class: str | None = Field(default=None, sa_type=text(20))
    detail: str = Field(default="", sa_type=text(500))


class Receipt(SQLModel, table=True):
    """A delivery receipt as it came, also one that matches no message yet."""

    __tablename__ = "receipt"
    __table_args__ = (
        Index("ix_receipt_provider", "bind", "provider_key"),
        Index(
            "ix_receipt_unmatched",
            "received_at",
            postgresql_where=sql("message_id IS NULL"),
            sqlite_where=sql("message_id IS NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    received_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int | None = Field(default=None)
    channel: str = Field(sa_type=text(8))
    bind: str = Field(default="", sa_type=text(200))
    provider_id: str = Field(default="", sa_type=text(100))
    provider_key: str = Field(
        default="", sa_type=text(100), sa_column_kwargs={"server_default": ""}
    )
    id_format: str = Field(
        default="auto",
        sa_type=text(16),
        sa_column_kwargs={"server_default": "auto"},
        description="How this bind writes ids in responses and receipts.",
    )
    address: str = Field(default="", sa_type=text(320))
    status: str = Field(default="", sa_type=text(20), description="DELIVRD, UNDELIV …")
    code: str = Field(default="", sa_type=text(20))
    final: bool = Field(default=False)
    state: str | None = Field(
        default=None, sa_type=text(16), description="What it tells; NULL when not final."
    )
    raw: str = Field(default="", sa_type=text(1000))
    message_id: UUID | None = Field(default=None, sa_type=Uuid)
    part: int | None = Field(default=None)
    run_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
