"""What messages cost: rate cards, what runs came to, and the money that senders hold.

Money is a whole number of millionths of the currency's unit: carriers charge 0.0075 EUR.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import Json, UtcDateTime, enum_check, text, utc_now


class PriceKind(StrEnum):
    """What a price is for: numbers that begin so, or one network's."""

    PREFIX = "prefix"
    NETWORK = "network"


class CostKind(StrEnum):
    """Whether a cost was expected, or is what was accepted."""

    ESTIMATE = "estimate"
    ACTUAL = "actual"


class EstimateBasis(StrEnum):
    """What an expected cost was found by: each text made, lengths known before, or addresses."""

    PREFLIGHT = "preflight"
    LAST_PREFLIGHT = "last_preflight"
    LAST_RUN = "last_run"
    LEAST = "least"
    COUNT = "count"


class RateCard(SQLModel, table=True):
    """A tenant's prices from a day on; never changes, a newer version takes its place."""

    __tablename__ = "rate_card"
    __table_args__ = (
        UniqueConstraint("tenant_id", "version", name="uq_rate_card_version"),
        CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="ck_rate_card_valid"),
    )

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: int = Field(foreign_key="tenant.id")
    version: int
    currency: str = Field(sa_type=text(3), description="ISO 4217.")
    email_micros: int | None = Field(
        default=None, sa_type=BigInteger, description="Of one email; none: they cost nothing."
    )
    valid_from: datetime = Field(sa_type=UtcDateTime)
    valid_to: datetime | None = Field(default=None, sa_type=UtcDateTime)
    source: str = Field(default="", sa_type=text(200), description="The file's name.")
    digest: str = Field(sa_type=text(64))
    entries: int
    created_by: str = Field(sa_type=text(200))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class RateCardEntry(SQLModel, table=True):
    """One price of a card: of a segment to numbers that begin with ``code``, or to a network."""

    __tablename__ = "rate_card_entry"
    __table_args__ = (
        CheckConstraint(enum_check("kind", PriceKind), name="ck_rate_card_entry_kind"),
        CheckConstraint("micros >= 0", name="ck_rate_card_entry_micros"),
    )

    card_id: int = Field(primary_key=True, foreign_key="rate_card.id")
    kind: str = Field(primary_key=True, sa_type=text(8))
    code: str = Field(primary_key=True, sa_type=text(15), description="Digits of E.164 or MCCMNC.")
    tenant_id: int
    micros: int = Field(sa_type=BigInteger)
    name: str = Field(default="", sa_type=text(100))


class RunRateCard(SQLModel, table=True):
    """The card that a run's messages cost by, however long it takes."""

    __tablename__ = "run_rate_card"

    run_id: UUID = Field(primary_key=True, sa_type=Uuid)
    tenant_id: int
    card_id: int = Field(foreign_key="rate_card.id")
    pinned_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class RunCost(SQLModel, table=True):
    """What a run costs in one country: as estimated, or as accepted by the servers."""

    __tablename__ = "run_cost"
    __table_args__ = (CheckConstraint(enum_check("kind", CostKind), name="ck_run_cost_kind"),)

    run_id: UUID = Field(primary_key=True, sa_type=Uuid)
    kind: str = Field(primary_key=True, sa_type=text(8))
    country: str = Field(
        primary_key=True, sa_type=text(8), description="Calling code; empty for email."
    )
    tenant_id: int
    currency: str = Field(sa_type=text(3))
    messages: int = Field(sa_type=BigInteger)
    segments: int = Field(sa_type=BigInteger, description="Emails count one each.")
    unpriced: int = Field(sa_type=BigInteger, description="Segments without a price.")
    micros: int = Field(sa_type=BigInteger)
    basis: str | None = Field(
        default=None, sa_type=text(16), description="Of an estimate: what it was found by."
    )
    computed_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class MoneyAccount(SQLModel, table=True):
    """What was spent of one budget in one period, and what senders hold of it."""

    __tablename__ = "money_account"
    __table_args__ = (
        CheckConstraint("spent >= 0 AND held >= 0", name="ck_money_account_positive"),
    )

    key: str = Field(primary_key=True, sa_type=text(120), description="tenant:3:day:2026-11-21 …")
    tenant_id: int
    campaign_id: int | None = Field(default=None)
    currency: str = Field(sa_type=text(3))
    budget: int = Field(sa_type=BigInteger, description="As it was when it was last looked at.")
    spent: int = Field(default=0, sa_type=BigInteger)
    held: int = Field(default=0, sa_type=BigInteger)
    ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    warned_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="When most of it was used."
    )
    exhausted_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="Since when nothing more was to be had."
    )
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class MoneyHold(SQLModel, table=True):
    """Money that a sender holds for one message, until it is settled what it cost."""

    __tablename__ = "money_hold"
    __table_args__ = (Index("ix_money_hold_tenant", "tenant_id", "held_at"),)

    message_id: UUID = Field(primary_key=True, sa_type=Uuid)
    run_at: datetime = Field(sa_type=UtcDateTime)
    tenant_id: int
    holder: UUID = Field(sa_type=Uuid, description="The sender's.")
    accounts: list[Any] = Field(sa_type=Json, description="Keys of the accounts it is held in.")
    segments: int
    micros: int = Field(sa_type=BigInteger)
    held_at: datetime = Field(sa_type=UtcDateTime)
