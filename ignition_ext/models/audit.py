"""The audit log: append-only by the database, chained by SHA-256 for each tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import BigId, Json, UtcDateTime, text


class AuditLog(SQLModel, table=True):
    """One change: who did what to which thing, before and after. Holds no personal data."""

    __tablename__ = "audit_log"
    __table_args__ = (UniqueConstraint("tenant_id", "seq", name="uq_audit_log_seq"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: int = Field(foreign_key="tenant.id")
    seq: int = Field(sa_type=BigId, description="Counts from 1 within the tenant's chain.")
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(sa_type=text(200))
    action: str = Field(sa_type=text(100), description="campaign.applied, run.cancelled …")
    subject: str = Field(sa_type=text(300), description="kind:name, such as campaign:welcome.")
    before: Any = Field(default=None, sa_type=Json, nullable=True)
    after: Any = Field(default=None, sa_type=Json, nullable=True)
    previous_hash: str = Field(sa_type=text(64))
    hash: str = Field(sa_type=text(64))
    signature: str = Field(default="", sa_type=text(200), description="Ed25519, base64.")
    key_id: str = Field(default="", sa_type=text(64))


class AuditHead(SQLModel, table=True):
    """The last row of a tenant's chain; locked by whoever appends, so that no chain forks."""

    __tablename__ = "audit_head"

    tenant_id: int = Field(primary_key=True, foreign_key="tenant.id")
    seq: int = Field(sa_type=BigId)
    hash: str = Field(sa_type=text(64))
    signature: str = Field(default="", sa_type=text(200), description="Ed25519, base64.")
    key_id: str = Field(default="", sa_type=text(64))
    signed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
