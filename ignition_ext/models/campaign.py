"""Campaigns, their versions, and each run of one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, Uuid
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, enum_check, text, utc_now
from ignition_ext.values import RunState, new_id


class Campaign(SQLModel, table=True):
    """A campaign of a tenant; ``version`` is the one in force."""

    __tablename__ = "campaign"
    __table_args__ = (UniqueConstraint("tenant_id", "name", name="uq_campaign_name"),)

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: int = Field(foreign_key="tenant.id")
    name: str = Field(sa_type=text(100))
    version: int = Field(default=0)
    prefect_deployment_id: UUID | None = Field(default=None, sa_type=Uuid)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class CampaignVersion(SQLModel, table=True):
    """What a campaign file said when it was applied; never changes."""

    __tablename__ = "campaign_version"
    __table_args__ = (UniqueConstraint("campaign_id", "version", name="uq_campaign_version"),)

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: int = Field(foreign_key="tenant.id")
    campaign_id: int = Field(foreign_key="campaign.id")
    version: int
    digest: str = Field(sa_type=text(64))
    definition: dict[str, Any] = Field(sa_type=Json)
    base_path: str = Field(default="", sa_type=text(1000))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class CampaignRun(SQLModel, table=True):
    """One execution of a campaign = one Prefect flow run, whose state and times are mirrored.

    ``run_at`` is set once when the run is opened and copied into every message: the hot tables
    are partitioned by it. ``version`` counts changes of ``state``, for compare-and-swap.

    Each channel of a campaign with two is a run of its own: the companion names the one that leads
    it, has its ``run_at``, and no ``scheduled_at``.
    """

    __tablename__ = "campaign_run"
    __table_args__ = (
        UniqueConstraint("campaign_id", "scheduled_at", name="uq_campaign_run_schedule"),
        UniqueConstraint("flow_run_id", name="uq_campaign_run_flow_run"),
        Index("uq_campaign_run_leg", "lead_run_id", "channel", unique=True),
        Index("ix_campaign_run_tenant", "tenant_id", "run_at"),
        Index(
            "ix_campaign_run_let_go",
            "ended_at",
            sqlite_where=sql("let_go_as <> state"),
            postgresql_where=sql("let_go_as <> state"),
        ),
        Index(
            "ix_campaign_run_announced",
            "id",
            sqlite_where=sql("announced_as <> state"),
            postgresql_where=sql("announced_as <> state"),
        ),
        CheckConstraint(enum_check("state", RunState), name="ck_campaign_run_state"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    tenant_id: int = Field(foreign_key="tenant.id")
    campaign_id: int = Field(foreign_key="campaign.id")
    campaign_version: int
    template_version_id: int | None = Field(default=None, foreign_key="template_version.id")
    run_at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(default=RunState.OPEN, sa_type=text(16))
    state_reason: str = Field(default="", sa_type=text(2000))
    version: int = Field(default=1)
    guarantee: str = Field(default="at-most-once", sa_type=text(16))
    max_messages: int | None = Field(default=None)
    deadline: datetime | None = Field(default=None, sa_type=UtcDateTime)
    snapshot_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="When the whole audience was in the ledger."
    )
    skipped: int = Field(default=0, description="Recipients without an address for the channel.")
    rejected: int = Field(default=0, description="Rows of the source that could not be used.")
    duplicates: int = Field(default=0, description="Rows whose address had been seen already.")
    flow_run_id: UUID | None = Field(default=None, sa_type=Uuid)
    flow_run_name: str = Field(default="", sa_type=text(300))
    prefect_state: str = Field(default="", sa_type=text(40))
    prefect_attempts: int = Field(default=0, description="Times that the flow's body began.")
    scheduled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    counts: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="Messages per state when the run ended."
    )
    ends_by: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="When its time limit is over."
    )
    let_go_as: str = Field(
        default="",
        sa_type=text(16),
        sa_column_kwargs={"server_default": ""},
        description="The end that the campaigns after this one were told of.",
    )
    announced_as: str = Field(
        default="",
        sa_type=text(16),
        sa_column_kwargs={"server_default": ""},
        description="The state that the tenant's webhooks were told of.",
    )
    channel: str = Field(
        default="",
        sa_type=text(8),
        sa_column_kwargs={"server_default": ""},
        description="Of its messages; empty where a node of an earlier release began it.",
    )
    lead_run_id: UUID | None = Field(
        default=None,
        foreign_key="campaign_run.id",
        sa_type=Uuid,
        description="The run that this one is the second channel of; None for one that leads.",
    )
