"""What comes in by SMS from handsets: whole texts, parts that wait for others, our replies.

``ignition_ext.returns`` writes them. A bind is an SMSC account, which tenants may share: whose a
text is was decided when it was stored.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, Uuid
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from ignition_ext.models.types import UtcDateTime, enum_check
from ignition_ext.models.types import text as varchar
from ignition_ext.values import new_id


class ReplyState(StrEnum):
    """What became of a reply: it is sent once at most."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"


_OPEN = "state IN ('pending', 'sending')"


class SmsRoute(SQLModel, table=True):
    """A tenant that sends by a bind under a sender: whose the answers to that sender are."""

    __tablename__ = "sms_route"

    bind: str = Field(primary_key=True, sa_type=varchar(200), description="host:port/system_id")
    sender: str = Field(primary_key=True, sa_type=varchar(20), description="As campaigns write it.")
    tenant_id: int = Field(primary_key=True, foreign_key="tenant.id")
    used_at: datetime = Field(sa_type=UtcDateTime)


class InboundMessage(SQLModel, table=True):
    """A text from a handset, joined from its parts, and what was done about it."""

    __tablename__ = "inbound_message"
    __table_args__ = (
        Index("ix_inbound_message_digest", "bind", "digest"),
        Index("ix_inbound_message_tenant", "tenant_id", "received_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    received_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    tenant_id: int | None = Field(
        default=None, description="NULL where several could be meant and nothing decided."
    )
    bind: str = Field(sa_type=varchar(200))
    source: str = Field(sa_type=varchar(320), description="The handset, E.164 if that can be told.")
    destination: str = Field(sa_type=varchar(320), description="The number or short code of ours.")
    text: str = Field(default="", sa_type=Text)
    octets: str = Field(default="", sa_type=Text, description="Of a binary one, hexadecimal.")
    data_coding: int = Field(default=0)
    parts: int = Field(default=1, description="That it was sent in.")
    parts_received: int = Field(default=1, description="Fewer than parts: it stayed incomplete.")
    keyword: str = Field(default="", sa_type=varchar(8), description="stop, start, help, or empty.")
    language: str = Field(default="", sa_type=varchar(8), description="Of the keyword.")
    action: str = Field(default="", sa_type=varchar(40), description="What was done.")
    repeats: int = Field(default=0, description="Times that the SMSC brought it again.")
    digest: str = Field(default="", sa_type=varchar(64), description="Tells one from a repeat.")
    acknowledged_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="Since when the SMSC has our answer."
    )


class InboundPart(SQLModel, table=True):
    """A part of a longer text, as it came; kept for a while after the text was joined.

    ``reference`` says with what the parts are tied: ``udh8:17``, ``udh16:4711``, ``sar:3``.
    """

    __tablename__ = "inbound_part"
    __table_args__ = (Index("ix_inbound_part_received", "received_at"),)

    bind: str = Field(primary_key=True, sa_type=varchar(200))
    source: str = Field(primary_key=True, sa_type=varchar(64))
    destination: str = Field(primary_key=True, sa_type=varchar(64))
    reference: str = Field(primary_key=True, sa_type=varchar(16))
    parts: int = Field(primary_key=True)
    part: int = Field(primary_key=True)
    tenant_id: int | None = Field(default=None)
    data_coding: int = Field(default=0)
    octets: str = Field(default="", sa_type=Text, description="Hexadecimal, without its header.")
    padding: int = Field(default=0, description="Fill bits where seven-bit characters are packed.")
    single_shift: int = Field(default=0, description="National language; 0 for none.")
    locking_shift: int = Field(default=0, description="National language; 0 for none.")
    is_binary: bool = Field(default=False)
    digest: str = Field(default="", sa_type=varchar(64))
    received_at: datetime = Field(sa_type=UtcDateTime)
    joined_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SmsReply(SQLModel, table=True):
    """The answer to a keyword: a message without a run, sent by the bind that heard the keyword."""

    __tablename__ = "sms_reply"
    __table_args__ = (
        CheckConstraint(enum_check("state", ReplyState), name="ck_sms_reply_state"),
        Index("ix_sms_reply_number", "tenant_id", "destination", "keyword"),
        Index(
            "ix_sms_reply_open",
            "bind",
            "created_at",
            postgresql_where=sql(_OPEN),
            sqlite_where=sql(_OPEN),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, sa_type=Uuid)
    created_at: datetime = Field(sa_type=UtcDateTime)
    tenant_id: int = Field(foreign_key="tenant.id")
    inbound_id: UUID = Field(sa_type=Uuid)
    bind: str = Field(sa_type=varchar(200))
    source: str = Field(sa_type=varchar(20), description="What the keyword was sent to.")
    destination: str = Field(sa_type=varchar(320))
    keyword: str = Field(sa_type=varchar(8))
    language: str = Field(default="", sa_type=varchar(8))
    text: str = Field(sa_type=Text)
    state: str = Field(default=ReplyState.PENDING, sa_type=varchar(16))
    attempts: int = Field(default=0)
    parts: int = Field(default=0)
    code: str = Field(default="", sa_type=varchar(20))
    detail: str = Field(default="", sa_type=varchar(500))
    provider_id: str = Field(default="", sa_type=varchar(100), description="Of its first part.")
    updated_at: datetime = Field(sa_type=UtcDateTime)
    segments: int = Field(default=0, description="That the SMSC took, over all attempts.")
    card_id: int | None = Field(default=None, description="The rate card that it cost by.")
    currency: str = Field(default="", sa_type=varchar(3))
    micros: int | None = Field(
        default=None, sa_type=BigInteger, description="What they cost; NULL without a price."
    )
    charged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
