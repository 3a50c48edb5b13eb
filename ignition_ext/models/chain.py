"""What chains of campaigns have come to: which ends were seen, and which runs they let go."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, Uuid, text
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import UtcDateTime, enum_check, utc_now
from ignition_ext.models.types import text as string
from ignition_ext.values import new_id


class ReleaseState(StrEnum):
    """What was decided about a campaign's turn."""

    WAITING = "waiting"
    RELEASED = "released"
    SKIPPED = "skipped"


class ChainRelease(SQLModel, table=True):
    """One turn of a campaign that comes after others.

    ``root`` is the flow run that began the chain, so that each chain gives a campaign one turn,
    whoever ends when. Where the parents have no common beginning, any end of each will do
    (``gathering``), and ``root`` is the turn's own id. ``flow_run_id`` is empty until Prefect has
    been told what was decided; ``attempt`` counts the decisions.
    """

    __tablename__ = "chain_release"
    __table_args__ = (
        UniqueConstraint("root", "campaign_id", name="uq_chain_release_root"),
        Index(
            "uq_chain_release_gathering",
            "campaign_id",
            unique=True,
            sqlite_where=text("gathering"),
            postgresql_where=text("gathering"),
        ),
        Index("ix_chain_release_flow_run", "flow_run_id"),
        Index(
            "ix_chain_release_untold",
            "decided_at",
            sqlite_where=text("flow_run_id IS NULL"),
            postgresql_where=text("flow_run_id IS NULL"),
        ),
        CheckConstraint(enum_check("state", ReleaseState), name="ck_chain_release_state"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    tenant_id: int = Field(foreign_key="tenant.id")
    campaign_id: int = Field(foreign_key="campaign.id")
    root: UUID = Field(sa_type=Uuid)
    root_campaign_id: int = Field(foreign_key="campaign.id")
    gathering: bool = Field(default=False)
    state: str = Field(default=ReleaseState.WAITING, sa_type=string(16))
    reason: str = Field(default="", sa_type=string(2000))
    attempt: int = Field(default=0)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    flow_run_id: UUID | None = Field(default=None, sa_type=Uuid)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ChainArrival(SQLModel, table=True):
    """The end of one run of a parent, as one campaign after it saw it: used at most once.

    ``release_id`` is empty when a later end of the same parent took its place.
    """

    __tablename__ = "chain_arrival"
    __table_args__ = (
        UniqueConstraint("release_id", "parent_id", name="uq_chain_arrival_release_parent"),
    )

    campaign_id: int = Field(primary_key=True, foreign_key="campaign.id")
    parent_flow_run_id: UUID = Field(primary_key=True, sa_type=Uuid)
    tenant_id: int = Field(foreign_key="tenant.id")
    parent_id: int = Field(foreign_key="campaign.id")
    release_id: UUID | None = Field(default=None, foreign_key="chain_release.id", sa_type=Uuid)
    ended: str = Field(sa_type=string(16))
    reason: str = Field(default="", sa_type=string(2000))
    at: datetime = Field(sa_type=UtcDateTime)
