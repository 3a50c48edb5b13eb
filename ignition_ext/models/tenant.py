"""Tenants and what they may set at run time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, text, utc_now


class Tenant(SQLModel, table=True):
    """Who campaigns belong to. ``name`` is a slug and appears in commands and tags."""

    __tablename__ = "tenant"
    __table_args__ = (UniqueConstraint("name", name="uq_tenant_name"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(sa_type=text(63))
    title: str = Field(default="", sa_type=text(200))
    timezone: str = Field(default="UTC", sa_type=text(64))
    region: str = Field(default="US", sa_type=text(2), description="ISO 3166 code for numbers.")
    locale: str = Field(default="en", sa_type=text(35))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class TenantSetting(SQLModel, table=True):
    """One value that a tenant set, such as a retry default or a branding colour."""

    __tablename__ = "tenant_setting"

    tenant_id: int = Field(primary_key=True, foreign_key="tenant.id")
    key: str = Field(primary_key=True, sa_type=text(100))
    value: Any = Field(sa_type=Json)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
