"""Runs that go out in steps, or that stop when too much goes wrong."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Uuid
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime


class RunSteps(SQLModel, table=True):
    """How far a run in steps is, and what it is measured by; other runs have no row.

    Taken from the campaign when the run begins: a later change of the file does not change it.
    """

    __tablename__ = "run_steps"
    __table_args__ = (
        Index(
            "ix_run_steps_stopped",
            "stopped_at",
            sqlite_where=sql("stopped_at IS NOT NULL"),
            postgresql_where=sql("stopped_at IS NOT NULL"),
        ),
    )

    run_id: UUID = Field(primary_key=True, foreign_key="campaign_run.id", sa_type=Uuid)
    tenant_id: int = Field(foreign_key="tenant.id")
    ramp: list[Any] = Field(sa_type=Json, description="As written; empty without a ramp.")
    wait_seconds: float = Field(default=0, description="From the end of a step to the next.")
    stop_if: dict[str, Any] = Field(sa_type=Json, description="As written; empty without.")
    targets: list[Any] = Field(
        sa_type=Json, description="Messages out after each step; empty until the audience is in."
    )
    step: int = Field(default=0, description="Steps that have begun.")
    released: int = Field(default=0, description="Messages that the steps have let go.")
    next_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="When the next step begins; NULL: unknown."
    )
    base: dict[str, Any] = Field(
        sa_type=Json, description="What an operator has judged: only what came later counts."
    )
    is_watched: bool = Field(default=True, description="Whether stop_if still stops it.")
    stops: int = Field(default=0, description="Times that it stopped by itself.")
    stopped_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="Since when it waits for a decision."
    )
    stop: dict[str, Any] = Field(sa_type=Json, description="Why it stopped last.")


class MessageHeld(SQLModel, table=True):
    """A message that its step has not come to: no claim sees it. Then it goes to message_due.

    ``place`` is drawn once, when the audience is taken, so that each step is a fair sample of it.
    """

    __tablename__ = "message_held"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: UUID = Field(primary_key=True, sa_type=Uuid)
    place: int = Field(primary_key=True)
    id: UUID = Field(primary_key=True, sa_type=Uuid, description="The message's.")
    run_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int
