"""The ledger's interface: the only code that changes a message's state.

Two implementations, SQLite and PostgreSQL, held to one test suite. All times are the database's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from ignition_ext.ledger.fallback_wave import Page, Place, Wave
from ignition_ext.ledger.rows import document
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    LeaseId,
    MessageId,
    MessageState,
    Outcome,
    RunRef,
    RunState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """One row of a snapshot. ``not_before`` holds it back (quiet hours), state stays pending."""

    channel: Channel
    address: str
    domain: str
    recipient_id: int | None = None
    locale: str | None = None
    timezone: str | None = None
    not_before: datetime | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResult:
    """``added`` rows are new; ``known`` stood in the run already (same channel and address).

    The batch with which a run became full counts its new rows alone: the rest was not looked at.
    """

    added: int
    known: int


CHANNELS: Mapping[str, Channel] = {channel.value: channel for channel in Channel}
"""By their names in the database: a look-up costs a fifth of what the enumeration takes for it."""


class ClaimedMessage:
    """A message that the lease's holder may send.

    Its columns stay the JSON that the ledger holds until somebody asks for them: who only hands
    them on to another process never reads them. No dataclass, because of that.

    Args:
        data: the recipient's columns, or their JSON.

    Attributes:
        attempts: how many were made before this one.
    """

    __slots__ = (
        "_data",
        "_document",
        "address",
        "attempts",
        "channel",
        "domain",
        "id",
        "locale",
        "timezone",
    )

    def __init__(
        self,
        *,
        id: MessageId,
        channel: Channel,
        address: str,
        domain: str,
        locale: str | None,
        timezone: str | None,
        attempts: int,
        data: Mapping[str, Any] | str,
    ) -> None:
        self.id, self.channel, self.address, self.domain = id, channel, address, domain
        self.locale, self.timezone, self.attempts = locale, timezone, attempts
        self._document: str | None = None
        self._data: Mapping[str, Any] | None = None
        if isinstance(data, str):
            self._document = data
        else:
            self._data = data

    @property
    def data(self) -> Mapping[str, Any]:
        """The recipient's columns, read from their JSON when first asked for."""
        if self._data is None:
            assert self._document is not None
            columns: Mapping[str, Any] = json.loads(self._document)
            self._data = columns
        return self._data

    @property
    def document(self) -> str:
        """The recipient's columns as JSON."""
        if self._document is None:
            assert self._data is not None
            self._document = document(self._data)
        return self._document

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClaimedMessage):
            return NotImplemented
        return self._fields == other._fields

    def __repr__(self) -> str:
        return f"ClaimedMessage(id={self.id!r}, address={self.address!r})"

    @property
    def _fields(self) -> tuple[Any, ...]:
        plain = (self.id, self.channel, self.address, self.domain, self.locale, self.timezone)
        return (*plain, self.attempts, self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The claim on a batch. Empty ``messages``: nothing is sendable now.

    Attributes:
        next_at: when the earliest held or deferred message becomes sendable, or expires with the
            run's deadline; None without one.
        lapses_at: when the earliest lease of another sender ends, None without one; what it
            holds may become sendable then.
        run_state: what the operator asked of the run, read in the same transaction.
    """

    id: LeaseId
    messages: Sequence[ClaimedMessage]
    next_at: datetime | None
    lapses_at: datetime | None = None
    run_state: RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDecision:
    """What to do after a refusal: again at ``delay`` from now, or not (None), and why."""

    delay: timedelta | None
    reason: str


class RetryPolicy(Protocol):
    """Decides on the next attempt; ``attempts`` counts judged ones, this one included."""

    def decide(self, outcome: Outcome, attempts: int) -> RetryDecision:
        """The decision for one refused message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What lapsed leases became."""

    pending: int
    uncertain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsReceipt:
    """A delivery receipt of an SMSC, decoded (SMPP 3.4 sections 4.6 and 5.3.2.35)."""

    bind: str
    provider_id: str
    state: MessageState | None
    """The message state it tells: delivered, failed, expired; None for an intermediate one."""
    status: str
    code: str
    destination: str
    raw: str
    id_format: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What somebody tells of one message.

    Attributes:
        state: what became of it: sent, delivered, bounced, complained or failed.
        outcome: codes, class and words for the message and its event.
    """

    message_id: MessageId
    state: MessageState
    outcome: Outcome


class Effect(StrEnum):
    """What a piece of evidence did."""

    CHANGED = "changed"
    KNOWN = "known"
    EARLY = "early"
    MISSING = "missing"


class Ledger(Protocol):
    """Every message of every run, in one named state."""

    async def snapshot(
        self,
        run: RunRef,
        batches: AsyncIterator[Sequence[NewMessage]],
        *,
        is_held: bool = False,
    ) -> SnapshotResult:
        """Add a run's messages, each batch in its own transaction; a second time adds nothing.

        Stops early when the run holds its ``max_messages``, was cancelled, or was finished by
        another; ``batches`` is not read at all when the snapshot is whole already. With
        ``is_held`` no claim sees them before :meth:`release_held` lets them go.
        """
        ...

    async def finish_snapshot(
        self, run: RunRef, *, skipped: int, rejected: int, duplicates: int
    ) -> None:
        """Mark the run's snapshot as whole, with what the source did not yield.

        Changes nothing when it is whole already, or when the run is over or cancelled.
        """
        ...

    async def release_held(self, run: RunRef, *, upto: int) -> int:
        """Let more of a run in steps be claimed, ``upto`` of it in all; returns how many.

        They are a fair sample of what is held: each drew its place in the snapshot. Nothing of a
        run that is paused, over or past its deadline, or whose snapshot is not whole.
        """
        ...

    async def claim(self, run: RunRef, *, limit: int, lease: timedelta) -> Lease:
        """Lease up to ``limit`` sendable messages: pending or deferred, due, not suppressed.

        Recovers lapsed leases of the run first. Suppressed addresses become ``suppressed`` here,
        as close to the wire as can be; past the run's deadline open ones become ``expired``; a
        paused or cancelled run yields no messages.
        """
        ...

    async def renew(self, run: RunRef, lease: LeaseId, duration: timedelta) -> RunState:
        """Extend a lease; returns what the operator asks of the run meanwhile."""
        ...

    async def intend(
        self, run: RunRef, lease: LeaseId, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """claimed -> sending for those still held by this lease; returns them.

        None in a run that is not open, or past its deadline.
        """
        ...

    async def settle(
        self,
        run: RunRef,
        lease: LeaseId,
        deliveries: Sequence[Delivery],
        retry: RetryPolicy,
        *,
        bind: str = "",
    ) -> Mapping[MessageId, MessageState]:
        """Turn outcomes into states, write parts and events; returns the new states.

        Also settles messages that are claimed and not sending (cannot be rendered: failed). A
        result that arrives after its lease lapsed is still evidence: uncertain -> sent, failed.
        """
        ...

    async def turn(
        self,
        run: RunRef,
        lease: LeaseId,
        deliveries: Sequence[Delivery],
        ids: Sequence[MessageId],
        retry: RetryPolicy,
        *,
        bind: str = "",
    ) -> tuple[Mapping[MessageId, MessageState], frozenset[MessageId]]:
        """Settle some and intend others in one transaction; new states, and what may go out."""
        ...

    async def release(self, run: RunRef, lease: LeaseId) -> int:
        """Return what the lease still holds as claimed to pending; returns how many.

        The lease ends, unless something of it is on the wire: that is settled, or it lapses.
        """
        ...

    async def recover(self, run: RunRef | None = None) -> Recovered:
        """Settle lapsed leases: claimed -> pending; sending -> uncertain (or pending, see run)."""
        ...

    async def counts(self, run: RunRef) -> Mapping[MessageState, int]:
        """Messages of a run by state; every state is present.

        Reads each of them: about half a second for a million.
        """
        ...

    async def is_open(self, run: RunRef) -> bool:
        """Whether anything of the run waits or is leased; cheap, whatever its size.

        A lease whose sender died after its last message counts until it lapses.
        """
        ...

    async def failures(self, run: RunRef) -> Mapping[str, int]:
        """Messages that failed, bounced or are deferred, by failure class."""
        ...

    async def cancel_open(self, run: RunRef, state: MessageState) -> int:
        """Turn pending, claimed and deferred into ``cancelled`` or ``expired``; returns a count."""
        ...

    async def redrive(
        self, run: RunRef, *, failure_class: FailureClass | None = None, actor: str
    ) -> int:
        """failed -> pending, all or those of one class, with attempts from 0; returns how many.

        Opens no run: whoever redrives sees to it that somebody sends.
        """
        ...

    async def receive(self, receipts: Sequence[SmsReceipt]) -> int:
        """Store receipts, update the parts and messages they match; returns how many matched."""
        ...

    async def match_waiting(self, bind: str, *, id_format: str | None = None) -> int:
        """Look again for the segments of receipts of this bind that have none; how many matched.

        Those of the last three days, with ``id_format`` as if they had come with that one.
        """
        ...

    async def evidence(self, told: Sequence[Evidence]) -> Sequence[Effect]:
        """Carry out what mails that came back tell; what each piece did, in their order.

        The same evidence twice changes nothing the second time.
        """
        ...

    async def fall_back(self, wave: Wave, begin: Place | None = None) -> Page | None:
        """Let text messages go instead of the next emails that ended so; None: none ever will."""
        ...

    async def note_fallback(self, lead: RunRef, seen_at: datetime, *, closes: bool = False) -> None:
        """Note up to when a run was looked through for it, and whether that was for good."""
        ...

    def messages(
        self,
        run_id: UUID,
        *,
        states: Sequence[MessageState] = (),
        batch: int = 1000,
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Stream a run's messages in a stable order, for lists and exports."""
        ...
