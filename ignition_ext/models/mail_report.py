"""What came back by email: one row for each mail, and for each address that a server refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, LargeBinary, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, text
from ignition_ext.values import new_id


class MailReport(SQLModel, table=True):
    """A bounce, complaint or other mail that came back, also one that fits no message of ours.

    Refusals of addresses during a run stand here too (``source`` is ``smtp``), so that what is
    counted over days is counted in one place.
    """

    __tablename__ = "mail_report"
    __table_args__ = (
        UniqueConstraint("digest", name="uq_mail_report_digest"),
        Index("ix_mail_report_state", "state", "received_at"),
        Index("ix_mail_report_address", "tenant_id", "address", "received_at"),
        Index("ix_mail_report_message", "message_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    digest: str = Field(
        sa_type=text(64), description="SHA-256 of the mail: the same one twice is one."
    )
    source: str = Field(
        sa_type=text(200), description="Where it was taken in: imap, maildir, lmtp; or smtp."
    )
    received_at: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(sa_type=text(16))
    state: str = Field(sa_type=text(16), description="new, waiting, settled, unmatched, ignored")
    matched_by: str = Field(
        default="", sa_type=text(16), description="token, message_id, recipient"
    )
    tenant_id: int | None = Field(default=None)
    message_id: UUID | None = Field(default=None, sa_type=Uuid)
    address: str = Field(
        default="", sa_type=text(320), description="The message's; else the report's."
    )
    status: str = Field(default="", sa_type=text(12))
    code: str = Field(default="", sa_type=text(20))
    failure_class: str | None = Field(default=None, sa_type=text(20))
    is_hard: bool = Field(default=False)
    detail: str = Field(default="", sa_type=text(500))
    remote_mta: str = Field(default="", sa_type=text(255))
    note: str = Field(default="", sa_type=text(500), description="What stood in the way.")
    report: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="All that it says; emptied when settled."
    )
    raw: bytes | None = Field(
        default=None,
        sa_type=LargeBinary,
        description="How it began, as long as nobody knows whom it is about.",
    )
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
