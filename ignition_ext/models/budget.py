"""What all senders on all nodes share: rates, binds, and whether a server is to be left alone.

Each row is a lease with an end, by the database's clock. A server is every tenant's: there
``tenant_id`` says who met it, and decides nothing.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Uuid
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import UtcDateTime, enum_check, text, utc_now


class CircuitTrouble(StrEnum):
    """What is wrong with a server."""

    CONNECTION = "connection"
    LOGIN = "login"


class RateBudget(SQLModel, table=True):
    """How far one rate's places have been given out; a row that lies in the past says nothing."""

    __tablename__ = "rate_budget"
    __table_args__ = (
        Index("ix_rate_budget_next", "next_at"),
        CheckConstraint("rate > 0", name="ck_rate_budget_rate"),
    )

    key: str = Field(primary_key=True, sa_type=text(400), description="campaign:acme/news …")
    tenant_id: int | None = Field(default=None, description="None for a server's.")
    rate: float = Field(description="Messages a second.")
    revision: int = Field(
        default=0,
        sa_type=BigInteger,
        description="Of whoever set the rate; an older one changes none.",
    )
    share: float = Field(description="Seconds of the rate that one sender is given at a time.")
    next_at: datetime = Field(sa_type=UtcDateTime, description="The first place still free.")


class BindSlot(SQLModel, table=True):
    """One open bind to an SMSC account, or one about to be opened."""

    __tablename__ = "bind_slot"

    account: str = Field(primary_key=True, sa_type=text(300), description="host:port/system_id")
    number: int = Field(primary_key=True, description="From 1 to the binds that are allowed.")
    tenant_id: int | None = Field(default=None, description="Whose run holds it.")
    holder: UUID = Field(sa_type=Uuid)
    owner: str = Field(sa_type=text(200), description="For people: host, process, run.")
    taken_at: datetime = Field(sa_type=UtcDateTime)
    until: datetime = Field(sa_type=UtcDateTime)


class Circuit(SQLModel, table=True):
    """A server, or a login there, with which something is wrong; without a row all is well."""

    __tablename__ = "circuit"
    __table_args__ = (
        CheckConstraint(enum_check("trouble", CircuitTrouble), name="ck_circuit_trouble"),
    )

    server: str = Field(primary_key=True, sa_type=text(400), description="host:port[/user]")
    tenant_id: int | None = Field(default=None, description="Whose run met the trouble.")
    trouble: str = Field(sa_type=text(16))
    failures: int = Field(description="In a row.")
    trips: int = Field(default=0, description="Times that it opened without a success between.")
    open_until: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="None while closed; then one may probe."
    )
    probe: UUID | None = Field(default=None, sa_type=Uuid)
    probe_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    login: str = Field(default="", sa_type=text(200), description="Salted digest of the login.")
    reason: str = Field(default="", sa_type=text(1000))
    failing_since: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    changed_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
