"""What recipients opened and followed, where a tenant lets that be noted; no address, no IP."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import BigId, UtcDateTime, enum_check, text
from ignition_ext.values import new_id


class TrackingKind(StrEnum):
    """What was done with an email."""

    OPEN = "open"
    CLICK = "click"


class TrackedUrl(SQLModel, table=True):
    """Where links of a tenant's emails lead to, once each; personal ones without their query."""

    __tablename__ = "tracked_url"
    __table_args__ = (UniqueConstraint("tenant_id", "digest", name="uq_tracked_url"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: int
    digest: str = Field(sa_type=text(32), description="Of the URL: BLAKE2b, hexadecimal.")
    url: str = Field(sa_type=text(2048))


class TrackingEvent(SQLModel, table=True):
    """One opening of an email, or one click; rows are only added."""

    __tablename__ = "tracking_event"
    __table_args__ = (
        CheckConstraint(enum_check("kind", TrackingKind), name="ck_tracking_event_kind"),
        Index("ix_tracking_event_message", "message_id", "kind"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    tenant_id: int
    message_id: UUID = Field(sa_type=Uuid)
    kind: str = Field(sa_type=text(8))
    at: datetime = Field(sa_type=UtcDateTime)
    agent: str = Field(sa_type=text(16), description="Class of the program: phone, gmail_proxy …")
    is_proxy: bool = Field(description="A machine asked, maybe without anybody looking.")
    url_id: int | None = Field(default=None, sa_type=BigId)
