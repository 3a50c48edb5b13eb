"""What recipients chose, what they were written of late, and who asked to be forgotten."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import BigId, Json, UtcDateTime, enum_check, text, utc_now
from ignition_ext.values import Channel


class Preference(SQLModel, table=True):
    """What the person at an address chose; that a channel is switched off is a suppression."""

    __tablename__ = "preference"
    __table_args__ = (
        UniqueConstraint("tenant_id", "channel", "address", name="uq_preference"),
        CheckConstraint(enum_check("channel", Channel), name="ck_preference_channel"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: int = Field(foreign_key="tenant.id")
    channel: str = Field(sa_type=text(8))
    address: str = Field(sa_type=text(320))
    preferred: str | None = Field(
        default=None, sa_type=text(8), description="The channel that the person likes best."
    )
    topics: dict[str, Any] = Field(
        default_factory=dict,
        sa_type=Json,
        description="Wanted or not, by topic; a topic not named is wanted.",
    )
    actor: str = Field(default="", sa_type=text(200))
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class CappedMessage(SQLModel, table=True):
    """A message that was claimed while its tenant had a frequency cap on its channel.

    Whether it counts is the message's own state: what was given back or refused does not.
    """

    __tablename__ = "capped_message"
    __table_args__ = ({"sqlite_with_rowid": False},)

    tenant_id: int = Field(primary_key=True)
    channel: str = Field(primary_key=True, sa_type=text(8))
    address: str = Field(primary_key=True, sa_type=text(320))
    message_id: UUID = Field(primary_key=True, sa_type=Uuid)
    run_at: datetime = Field(sa_type=UtcDateTime, description="The message's.")
    claimed_at: datetime = Field(sa_type=UtcDateTime)


class ForgottenKey(SQLModel, table=True):
    """The secret that a tenant's forgotten addresses are hashed with; made with the first one."""

    __tablename__ = "forgotten_key"

    tenant_id: int = Field(primary_key=True, foreign_key="tenant.id")
    key: str = Field(sa_type=text(64), description="32 random bytes, hexadecimal.")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ForgottenAddress(SQLModel, table=True):
    """An address that must stay suppressed though nothing else is known of it: a keyed hash."""

    __tablename__ = "forgotten_address"

    tenant_id: int = Field(primary_key=True, foreign_key="tenant.id")
    channel: str = Field(primary_key=True, sa_type=text(8))
    digest: str = Field(primary_key=True, sa_type=text(64), description="BLAKE2b, keyed.")
    reason: str = Field(sa_type=text(40), description="As it stood in suppression.")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
