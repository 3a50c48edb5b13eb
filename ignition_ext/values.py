"""Plain values that every part of Ignition shares: channels, states, outcomes, ids.

Nothing here touches a socket, a database or Prefect. A branch over one of the
enumerations is a ``match`` that ends in ``assert_never``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from os import urandom
from typing import Any, NamedTuple, NewType
from uuid import UUID

TenantId = NewType("TenantId", int)
RunId = NewType("RunId", UUID)
MessageId = NewType("MessageId", UUID)
LeaseId = NewType("LeaseId", UUID)


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562 section 5.7): ordered by its millisecond, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=value)


class Channel(StrEnum):
    """The way a message travels."""

    EMAIL = "email"
    SMS = "sms"


class MessageState(StrEnum):
    """The states of the ledger; ``total`` is always the sum over all of them."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENDING = "sending"
    DEFERRED = "deferred"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    SUPPRESSED = "suppressed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


OPEN_STATES = frozenset(
    {
        MessageState.PENDING,
        MessageState.CLAIMED,
        MessageState.SENDING,
        MessageState.DEFERRED,
    }
)
"""States that a sender still has to work on; a run is over when none is left."""


class RunState(StrEnum):
    """What an operator asked of a run, and how it ended; Prefect's state is mirrored beside it."""

    OPEN = "open"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


UNDER_WAY = (RunState.OPEN.value, RunState.PAUSED.value)
"""States of a run that has not ended."""
CRASHED = "Crashed"
"""Prefect's name for the state of a run whose process died."""


class Guarantee(StrEnum):
    """What becomes of a message whose outcome cannot be known."""

    AT_MOST_ONCE = "at-most-once"
    AT_LEAST_ONCE = "at-least-once"


class FallbackCause(StrEnum):
    """Why a text message goes instead of an email, in the words of a campaign file's ``on``."""

    FAILED = "failed"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    UNCERTAIN = "uncertain"


class OutcomeKind(StrEnum):
    """How one attempt ended, as a transport saw it."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    UNCERTAIN = "uncertain"
    UNSENT = "unsent"


class FailureClass(StrEnum):
    """Whose fault a refusal is; decides on retries, suppression and who must act."""

    ADDRESS = "address"
    MAILBOX = "mailbox"
    CONTENT = "content"
    SENDER = "sender"
    POLICY = "policy"
    THROTTLED = "throttled"
    CONNECTION = "connection"
    AUTH = "auth"
    CONFIGURATION = "configuration"
    SYSTEM = "system"
    RENDER = "render"
    ATTEMPTS = "attempts"


class Outcome(NamedTuple):
    """The result of one attempt for one message (or one SMS part).

    This and the next two are made for each message: a frozen dataclass takes four times as long.

    Attributes:
        kind: what happened.
        code: the reply code as the protocol writes it: ``250`` (RFC 5321 section 4.2) or
            ``0x00000058`` (SMPP 3.4 section 5.1.3); empty when there was no reply.
        enhanced: the enhanced status code of RFC 3463, such as ``5.1.1``; empty without one.
        text: the server's words, or ours where there was no server.
        failure_class: None when accepted.
        provider_id: the server's queue id or the SMSC's message id, verbatim.
        retry_after: the least time to wait, where the server or the protocol says one.
        charges_attempt: False where the server asked to come back later without judging the
            message (421, 0x58, a bind lost); such a refusal does not use up an attempt.
    """

    kind: OutcomeKind
    code: str = ""
    enhanced: str = ""
    text: str = ""
    failure_class: FailureClass | None = None
    provider_id: str = ""
    retry_after: timedelta | None = None
    charges_attempt: bool = True


class PartOutcome(NamedTuple):
    """The outcome of one segment of an SMS; ``part`` counts from 1."""

    part: int
    parts: int
    outcome: Outcome


class Delivery(NamedTuple):
    """What a transport reports for one message: its outcome, and for SMS that of each part."""

    message_id: MessageId
    outcome: Outcome
    parts: tuple[PartOutcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """Names a run and the partition that its messages live in.

    ``run_at`` is the same for every message of the run, so that unique keys may hold it
    (PostgreSQL wants the partition column in each).
    """

    id: RunId
    run_at: datetime
    tenant_id: TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One person of an audience, addresses already checked and normalised.

    Attributes:
        email: normalised address, or None.
        phone: E.164 with ``+``, or None.
        locale: BCP 47 tag such as ``de-DE``, or None for the tenant's default.
        timezone: IANA name, or None for the tenant's default.
        data: every column of the source, as templates see it.
        line: line of the source file, 0 where there is none.
        id: the row of a stored audience, None where the recipient is not stored.
    """

    email: str | None
    phone: str | None
    locale: str | None = None
    timezone: str | None = None
    external_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0
    id: int | None = None
