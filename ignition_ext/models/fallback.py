"""What falls back from one channel to the other, and how far each run was looked through for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Uuid
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, text, utc_now

_GOES_ON = sql("closed_at IS NULL")


class FallbackRun(SQLModel, table=True):
    """A run whose emails let text messages go where they do not get through.

    ``seen_at``: every change of an earlier time was looked at.
    """

    __tablename__ = "fallback_run"
    __table_args__ = (
        Index("ix_fallback_run_open", "run_id", sqlite_where=_GOES_ON, postgresql_where=_GOES_ON),
    )

    run_id: UUID = Field(primary_key=True, sa_type=Uuid, description="The run that leads.")
    tenant_id: int
    causes: list[Any] = Field(sa_type=Json, description="The ends of an email that fall back.")
    within_seconds: int = Field(description="How long after the run's end bounces count.")
    sms_guarantee: str = Field(sa_type=text(16), description="Of the text messages.")
    sms_seconds: int | None = Field(
        default=None,
        description="What is not sent so long after the run began expires; NULL: nothing does.",
    )
    seen_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="When it was looked through for good."
    )
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class FallbackMessage(SQLModel, table=True):
    """An email instead of which a text message goes.

    Several emails share one text message where their recipients share a number.
    """

    __tablename__ = "fallback_message"
    __table_args__ = (
        Index("ix_fallback_message_run", "run_id"),
        Index("ix_fallback_message_sms", "sms_id"),
    )

    message_id: UUID = Field(primary_key=True, sa_type=Uuid, description="The email.")
    tenant_id: int
    run_id: UUID = Field(sa_type=Uuid, description="The email's.")
    sms_id: UUID = Field(sa_type=Uuid)
    sms_run_id: UUID = Field(sa_type=Uuid)
    cause: str = Field(sa_type=text(16), description="failed, bounced, expired or uncertain.")
    failure_class: str | None = Field(default=None, sa_type=text(20))
    at: datetime = Field(sa_type=UtcDateTime, description="When the text message was decided on.")
