"""What the ledger reads under a lock and what it writes back: values between rules and SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from ignition_ext.values import MessageState, Outcome, RunState

CODE_LENGTH, ENHANCED_LENGTH, DETAIL_LENGTH, ID_LENGTH = 20, 12, 500, 100
"""The columns' lengths: PostgreSQL refuses longer text, and a server's words know no bounds."""

WAITING = frozenset({MessageState.PENDING, MessageState.DEFERRED})
"""States of a message that has a row in ``message_due``."""
USUAL_WAY = frozenset({MessageState.CLAIMED, MessageState.SENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A message's row, locked by the open transaction.

    Attributes:
        seq: the number of its last event.
        resends: how often it went from uncertain back to pending.
        again: whether its run promises at-least-once.
        not_before: the same as in ``message_due`` while it waits.
        intended_at: when it was last put on the wire.
    """

    id: UUID
    run_at: datetime
    state: MessageState
    seq: int
    attempts: int
    resends: int
    lease_id: UUID | None
    parts: int
    again: bool
    tenant_id: int
    run_id: UUID | None
    not_before: datetime | None
    intended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease's row, locked by the open transaction.

    Attributes:
        message_ids: those that it was given for, as the driver has them: they go back to it only.
    """

    id: UUID
    run_at: datetime
    message_ids: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one message: the states it walks through, and what is noted with them.

    Attributes:
        steps: one or more states, each a transition of the table; the last is the new state.
        outcome: written into the message's columns; None leaves them as they are.
        note: what the events say where there is no outcome.
        delay: when it may be tried again, from the database's now; None keeps ``not_before``.
    """

    held: Held
    steps: tuple[MessageState, ...]
    attempts: int
    outcome: Outcome | None = None
    note: str = ""
    delay: timedelta | None = None
    parts: int = 0

    @property
    def state(self) -> MessageState:
        """The state at the end of the walk."""
        return self.steps[-1]

    @property
    def noted(self) -> list[tuple[MessageState, MessageState]]:
        """The steps that become events: the usual way to the wire is told by what ends it."""
        path = (self.held.state, *self.steps)
        return [pair for pair in pairwise(path) if pair[1] not in USUAL_WAY]

    @property
    def resends(self) -> int:
        """Copies sent again in ignorance, this change included."""
        path = (self.held.state, *self.steps)
        again = (MessageState.UNCERTAIN, MessageState.PENDING)
        return self.held.resends + sum(pair == again for pair in pairwise(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """The columns of a run that decide on sending."""

    state: RunState
    is_overdue: bool
    has_snapshot: bool
    max_messages: int | None
    has_terms: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """One stored segment of an SMS."""

    message_id: UUID
    run_at: datetime
    tenant_id: int
    part: int
    parts: int
    bind: str
    provider_id: str
    provider_key: str
    state: MessageState
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRow:
    """One stored receipt that has found no segment yet."""

    id: UUID
    bind: str
    provider_id: str
    id_format: str
    destination: str
    state: MessageState | None
    status: str
    code: str


def clean(text: str, length: int) -> str:
    """Text that both databases take: no NUL, no lone surrogate, not too long."""
    text = text.replace("\0", "")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text[:length]


_encode = json.JSONEncoder(default=str, ensure_ascii=False, allow_nan=False).encode


def document(data: Mapping[str, Any]) -> str:
    """A recipient's columns as JSON that both databases take; what JSON lacks becomes text.

    PostgreSQL's ``jsonb`` refuses NUL, lone surrogates and NaN, any of which a file may hold.
    """
    try:
        text = _encode(data)
        text.encode("utf-8")
    except ValueError:
        return json.dumps(_mended(data), default=str, ensure_ascii=False)
    if "\\u0000" in text:
        return json.dumps(_mended(data), default=str, ensure_ascii=False)
    return text


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, len(value))
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {_mended(str(key)): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value
