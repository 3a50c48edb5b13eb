"""Templates and their versions; a published version never changes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, enum_check, text, utc_now


class TemplateState(StrEnum):
    """A version's life: edited as draft, used once published, kept when archived."""

    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


class Template(SQLModel, table=True):
    """A named template of a tenant."""

    __tablename__ = "template"
    __table_args__ = (UniqueConstraint("tenant_id", "name", name="uq_template_name"),)

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: int = Field(foreign_key="tenant.id")
    name: str = Field(sa_type=text(100))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class TemplateVersion(SQLModel, table=True):
    """One version: the sources of a template's folder, and what publishing made of them.

    ``files`` maps a path inside the folder (``subject.txt``, ``body.html``, ``sms.txt``,
    ``template.yaml``, ``body.de.html`` …) to its text; ``compiled`` holds the same after CSS
    was inlined; ``variables`` are the names that it needs from an audience.
    """

    __tablename__ = "template_version"
    __table_args__ = (
        UniqueConstraint("template_id", "version", name="uq_template_version"),
        CheckConstraint(enum_check("state", TemplateState), name="ck_template_version_state"),
    )

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: int = Field(foreign_key="tenant.id")
    template_id: int = Field(foreign_key="template.id", index=True)
    version: int
    state: str = Field(default=TemplateState.DRAFT, sa_type=text(16))
    digest: str = Field(sa_type=text(64), description="SHA-256 over the sources.")
    files: dict[str, Any] = Field(sa_type=Json)
    compiled: dict[str, Any] | None = Field(default=None, sa_type=Json)
    variables: list[str] = Field(default_factory=list, sa_type=Json)
    settings: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    published_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
