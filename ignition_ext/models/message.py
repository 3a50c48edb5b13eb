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

from ignition_ext.models.types import Json, UtcDateTime, UuidList, enum_check, text, utc_now
from ignition_ext.values import Channel, MessageState, new_id

_REFUSED = sql("new_state = 'failed' AND failure_class IN ('address', 'mailbox') AND code <> ''")
UNDELIVERED = sql(
    "new_state <> 'sent' AND (new_state IN ('failed', 'bounced', 'expired', 'uncertain')"
    " OR new_state = 'suppressed' AND detail = 'on the suppression list: bounce')"
)
"""Of an event: the message did not get through, for all that was known then. The usual end comes
first, so that it is told apart by one comparison."""


class Message(SQLModel, table=True):
    """One recipient on one channel in one run (or a single send without a run).

    ``data`` is the recipient as it was at the snapshot, so that a run means the same however
    its audience changes meanwhile. ``attempts`` counts those that the server judged.

    No index names a column that a claim, an intent or a result changes, and pages are half full
    at first, so that PostgreSQL can put a message's new version on the page of the old one.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("run_id", "channel", "address", "run_at", name="uq_message_address"),
        CheckConstraint(enum_check("state", MessageState), name="ck_message_state"),
        CheckConstraint(enum_check("channel", Channel), name="ck_message_channel"),
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
        default=0,
        sa_column_kwargs={"server_default": "0"},
        description="Its events so far: the number of the last one.",
    )
    attempts: int = Field(default=0)
    resends: int = Field(
        default=0,
        sa_column_kwargs={"server_default": "0"},
        description="Times that it went from uncertain to pending: copies that may exist.",
    )
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lease_id: UUID | None = Field(default=None, sa_type=Uuid)
    code: str = Field(default="", sa_type=text(20))
    enhanced: str = Field(default="", sa_type=text(12))
    failure_class: str | None = Field(default=None, sa_type=text(20))
    detail: str = Field(default="", sa_type=text(500))
    provider_id: str = Field(default="", sa_type=text(200))
    parts: int = Field(default=0, description="Segments of an SMS; 0 for email.")
    intended_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="When it was last put on the wire."
    )
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


class MessageDue(SQLModel, table=True):
    """What waits to be sent: one row for each message of a run that is pending or deferred.

    ``not_before`` is the message's own. A claim deletes the rows it takes.
    """

    __tablename__ = "message_due"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: UUID = Field(primary_key=True, sa_type=Uuid)
    not_before: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    id: UUID = Field(primary_key=True, sa_type=Uuid, description="The message's.")
    run_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int


class SenderLease(SQLModel, table=True):
    """What a sender holds: messages that it claimed, until it gives the lease back.

    ``message_ids`` are those of the claim; a message that has left it names no lease any more,
    or another.
    """

    __tablename__ = "sender_lease"

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    run_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    run_id: UUID | None = Field(default=None, sa_type=Uuid)
    tenant_id: int
    until: datetime = Field(sa_type=UtcDateTime)
    message_ids: list[Any] = Field(sa_type=UuidList)


class MessageEvent(SQLModel, table=True):
    """One change of a message's state that ended something; rows are only added.

    ``seq`` counts from 1 within a message without gaps: order by it, for two changes may bear the
    same time. Not noted are the beginning (``created_at`` tells it) and the usual way to the
    wire: an event with ``old_state`` claimed or sending tells of both, ``intended_at`` when.
    """

    __tablename__ = "message_event"
    __table_args__ = (
        # What is told to others is found by it. It must cost a message that is sent as good as
        # nothing: block ranges on PostgreSQL; on SQLite only what is not the usual way.
        Index(
            "ix_message_event_at",
            "at",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": True},
            sqlite_where=sql("new_state <> 'sent' OR old_state <> 'sending'"),
        ),
        # Refusals that count against an address; any other event costs it nothing.
        Index(
            "ix_message_event_refused",
            "at",
            postgresql_where=_REFUSED,
            sqlite_where=_REFUSED,
        ),
        # A run's messages that did not get through, for the channel that they fall back to; what
        # was sent does not enter it.
        Index(
            "ix_message_event_undelivered",
            *("run_at", "at", "message_id"),
            postgresql_where=UNDELIVERED,
            sqlite_where=UNDELIVERED,
        ),
        {"sqlite_with_rowid": False},
    )

    message_id: UUID = Field(primary_key=True, sa_type=Uuid)
    seq: int = Field(primary_key=True)
    run_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int
    at: datetime = Field(sa_type=UtcDateTime)
    old_state: str = Field(default="", sa_type=text(16))
    new_state: str = Field(sa_type=text(16))
    attempt: int = Field(default=0)
    code: str = Field(default="", sa_type=text(20))
    failure_class: str | None = Field(default=None, sa_type=text(20))
    detail: str = Field(default="", sa_type=text(500))
    intended_at: datetime | None = Field(
        default=None,
        sa_type=UtcDateTime,
        description="When the attempt that ended was put on the wire.",
    )


class Receipt(SQLModel, table=True):
    """A delivery receipt as it came, also one that matches no message yet."""

    __tablename__ = "receipt"
    __table_args__ = (
        Index("ix_receipt_provider", "bind", "provider_key"),
        Index(
            "ix_receipt_unmatched",
            "bind",
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
