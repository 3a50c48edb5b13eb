"""Audiences, their recipients, and who must not be written to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import BigId, Json, UtcDateTime, enum_check, text, utc_now
from ignition_ext.values import Channel


class Audience(SQLModel, table=True):
    """A named list of recipients; ``generation`` counts imports, each replaces the one before."""

    __tablename__ = "audience"
    __table_args__ = (UniqueConstraint("tenant_id", "name", name="uq_audience_name"),)

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: int = Field(foreign_key="tenant.id")
    name: str = Field(sa_type=text(100))
    generation: int = Field(default=0, description="The import that is in force; 0 before one.")
    reserved: int = Field(
        default=0, description="Last generation handed out to an import, whatever became of it."
    )
    columns: list[str] = Field(default_factory=list, sa_type=Json)
    size: int = Field(default=0)
    source: str = Field(default="", sa_type=text(500))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RecipientRow(SQLModel, table=True):
    """One recipient of one import of an audience; an address stands once in each import."""

    __tablename__ = "recipient"
    __table_args__ = (
        UniqueConstraint("audience_id", "generation", "email", "phone", name="uq_recipient"),
        Index("ix_recipient_email", "tenant_id", "email"),
        Index("ix_recipient_phone", "tenant_id", "phone"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: int = Field(foreign_key="tenant.id")
    audience_id: int = Field(foreign_key="audience.id")
    generation: int
    email: str = Field(default="", sa_type=text(320), description="Empty where there is none.")
    phone: str = Field(default="", sa_type=text(20), description="E.164, or empty.")
    locale: str | None = Field(default=None, sa_type=text(35))
    timezone: str | None = Field(default=None, sa_type=text(64))
    external_id: str | None = Field(default=None, sa_type=text(200))
    data: dict[str, Any] = Field(default_factory=dict, sa_type=Json)


class Suppression(SQLModel, table=True):
    """An address that a tenant must not write to on a channel, with the reason."""

    __tablename__ = "suppression"
    __table_args__ = (
        UniqueConstraint("tenant_id", "channel", "address", name="uq_suppression"),
        CheckConstraint(enum_check("channel", Channel), name="ck_suppression_channel"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: int = Field(foreign_key="tenant.id")
    channel: str = Field(sa_type=text(8))
    address: str = Field(sa_type=text(320))
    reason: str = Field(sa_type=text(40), description="bounce, complaint, opt_out, manual …")
    detail: str = Field(default="", sa_type=text(500))
    actor: str = Field(
        default="",
        sa_type=text(200),
        sa_column_kwargs={"server_default": ""},
        description="Who put it there, as in the audit log.",
    )
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
