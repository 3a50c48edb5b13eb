"""One open transaction of the ledger, whichever database it is on.

Named statements go in, values come out. What both databases do alike is written here once; the
subclasses know their driver, how it takes many rows at once, and the few statements that differ
in kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from ignition_ext.errors import NotFoundError
from ignition_ext.ledger.accepted import Accepted
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.ledger.provider_ids import id_key
from ignition_ext.ledger.rows import (
    CODE_LENGTH,
    DETAIL_LENGTH,
    ENHANCED_LENGTH,
    ID_LENGTH,
    WAITING,
    Change,
    Held,
    HeldLease,
    PartRow,
    ReceiptRow,
    RunRow,
    clean,
)
from ignition_ext.ledger.transitions import require_path
from ignition_ext.values import (
    LeaseId,
    MessageId,
    MessageState,
    Outcome,
    RunRef,
    RunState,
)

Row = tuple[Any, ...]
LONGEST_DELAY = timedelta(days=366)
"""A server may name any time. Past the year 9999 SQLite's clock says NULL, and the message would
never fall due; PostgreSQL refuses the whole batch."""


def _nobody() -> None:
    """Nobody waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """New messages as the database's driver takes them; made while the ones before are stored.

    Attributes:
        sent: to be called, from any thread, once the database has them and works on them: the next
            ones are made meanwhile.
    """

    count: int
    rows: Any
    sent: Callable[[], None] = _nobody


class NotHeldError(Exception):
    """A result is not of a message that is being sent under the lease: the rules must look."""


class Work(ABC):
    """A transaction that is open; whoever opened it ends it."""

    @abstractmethod
    async def fetch(self, name: str, /, **parameters: Any) -> list[Row]:
        """Run a statement of the ``.sql`` files and return its rows."""

    @abstractmethod
    async def write(self, name: str, rows: Sequence[Mapping[str, Any]], /) -> int:
        """Run a statement for many rows, each a mapping of its parameters; returns how many."""

    @abstractmethod
    def uuid(self, value: Any) -> UUID:
        """A key as it came from the driver."""

    @abstractmethod
    def time(self, value: Any) -> datetime:
        """A time as it came from the driver, aware."""

    @abstractmethod
    async def share_bind(self, bind: str) -> None:
        """Keep receipts of this bind from being stored until the transaction ends."""

    @abstractmethod
    async def lock_bind(self, bind: str) -> None:
        """Keep parts and receipts of this bind from being stored until the transaction ends."""

    @abstractmethod
    async def add_messages(self, run: RunRef, batch: Prepared, room: int | None) -> int:
        """Add those that the run does not know, at most ``room``; returns how many."""

    @abstractmethod
    async def claim_due(
        self, run: RunRef, lease: LeaseId, limit: int
    ) -> tuple[list[ClaimedMessage], int]:
        """Claim due messages; returns them, and how many rows were due before suppression."""

    @abstractmethod
    async def turn(
        self, run: RunRef, lease: LeaseId, accepted: Accepted, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """sending -> sent for all that is accepted, claimed -> sending for those that may go.

        Raises:
            NotHeldError: something accepted was not sending under this lease; the transaction is
                of no use any more.
        """

    @abstractmethod
    async def turn_parts(
        self,
        run: RunRef,
        lease: LeaseId,
        bind: str,
        accepted: Accepted,
        ids: Sequence[MessageId],
    ) -> tuple[frozenset[MessageId], bool]:
        """The same for SMS, with their segments; also says whether any receipt waits for its own.

        Receipts of this bind are kept from being stored until the transaction ends.

        Raises:
            NotHeldError: as :meth:`turn`.
        """

    async def run(self, name: str, run: RunRef) -> RunRow:
        """A run's row, by ``read_run``, ``share_run`` or ``lock_run``.

        Raises:
            NotFoundError: there is none.
        """
        rows = await self.fetch(name, run_id=run.id)
        if not rows:
            raise NotFoundError(
                f"there is no run {run.id}.", mend="Run: ignition campaign status TENANT/NAME"
            )
        state, is_overdue, has_snapshot, max_messages, *terms = rows[0]
        return RunRow(
            state=RunState(state),
            is_overdue=bool(is_overdue),
            has_snapshot=bool(has_snapshot),
            max_messages=max_messages,
            has_terms=any(terms),
        )

    async def lock(self, name: str, /, **parameters: Any) -> list[Held]:
        """Messages under a lock, by one of the ``lock_…`` statements."""
        return [
            Held(
                id=self.uuid(row[0]),
                run_at=self.time(row[1]),
                state=MessageState(row[2]),
                seq=row[3],
                attempts=row[4],
                resends=row[5],
                lease_id=None if row[6] is None else self.uuid(row[6]),
                parts=row[7],
                again=bool(row[8]),
                tenant_id=row[9],
                run_id=None if row[10] is None else self.uuid(row[10]),
                not_before=None if row[11] is None else self.time(row[11]),
                intended_at=None if row[12] is None else self.time(row[12]),
            )
            for row in await self.fetch(name, **parameters)
        ]

    async def next_times(
        self, run: RunRef, lease: LeaseId
    ) -> tuple[datetime | None, datetime | None]:
        """When the next message falls due, and when the next lease of another ends."""
        ((due, lapse),) = await self.fetch("read_next", run_id=run.id, lease_id=lease)
        return (
            None if due is None else self.time(due),
            None if lapse is None else self.time(lapse),
        )

    async def lock_lease(self, name: str, /, **parameters: Any) -> HeldLease | None:
        """A lease under a lock, by ``lock_lease`` or ``lock_lapsed_lease``."""
        rows = await self.fetch(name, **parameters)
        if not rows:
            return None
        key, run_at, message_ids = rows[0]
        return HeldLease(id=self.uuid(key), run_at=self.time(run_at), message_ids=message_ids)

    async def lock_held(self, lease: HeldLease) -> list[Held]:
        """The messages that a lease still holds, under a lock."""
        return await self.lock(
            "lock_held", ids=lease.message_ids, run_at=lease.run_at, lease_id=lease.id
        )

    async def apply(self, changes: Sequence[Change]) -> None:
        """Carry out changes of locked messages, and write their events.

        Raises:
            ValueError: a change is not in the table of transitions.
            RuntimeError: a row was not as it was locked; nothing of the batch may be stored.
        """
        if not changes:
            return
        for change in changes:
            require_path(change.held.state, change.steps)
        await self.write("add_events", [event for change in changes for event in _events(change)])
        written = await self.apply_changes([_columns(change) for change in changes])
        if written != len(changes):
            raise RuntimeError(f"{len(changes) - written} messages changed under the lock")
        await self.write(
            "drop_due",
            [
                {"run_id": held.run_id, "not_before": held.not_before, "id": held.id}
                for held in (change.held for change in changes)
                if held.state in WAITING and held.run_id is not None
            ],
        )

    @abstractmethod
    async def apply_changes(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the columns of changed messages; who waits then stands in ``message_due``."""

    async def add_parts(self, rows: Sequence[PartRow], words: Sequence[tuple[str, str]]) -> None:
        """Store segments; ``words`` are the code and detail of each."""
        await self.write(
            "add_parts",
            [
                {
                    "message_id": row.message_id,
                    "part": row.part,
                    "run_at": row.run_at,
                    "tenant_id": row.tenant_id,
                    "parts": row.parts,
                    "bind": row.bind,
                    "provider_id": row.provider_id,
                    "provider_key": row.provider_key,
                    "state": row.state.value,
                    "code": clean(code, CODE_LENGTH),
                    "detail": clean(detail, DETAIL_LENGTH),
                }
                for row, (code, detail) in zip(rows, words, strict=True)
            ],
        )

    async def has_receipts(self, bind: str) -> bool:
        """Whether a receipt of this bind has found no segment yet."""
        ((waiting,),) = await self.fetch("has_receipts", bind=bind)
        return bool(waiting)

    async def find_parts(self, binds: set[str], keys: set[str]) -> list[PartRow]:
        """Segments by bind and key of their id, newest first."""
        return [
            PartRow(
                message_id=self.uuid(row[0]),
                run_at=self.time(row[1]),
                tenant_id=row[2],
                part=row[3],
                parts=row[4],
                bind=row[5],
                provider_id=row[6],
                provider_key=row[7],
                state=MessageState(row[8]),
                address=row[9],
            )
            for row in await self.fetch("find_parts", binds=sorted(binds), keys=sorted(keys))
        ]

    async def find_receipts(self, binds: set[str], keys: set[str]) -> list[ReceiptRow]:
        """Receipts that have found no segment yet, oldest first."""
        return self._receipts(
            await self.fetch("find_receipts", binds=sorted(binds), keys=sorted(keys))
        )

    async def waiting_receipts(self, bind: str, after: UUID, limit: int) -> list[ReceiptRow]:
        """The next receipts of a bind that have found no segment yet, in the order of their ids."""
        rows = await self.fetch("waiting_receipts", bind=bind, after=after, limit=limit)
        return self._receipts(rows)

    def _receipts(self, rows: Sequence[Row]) -> list[ReceiptRow]:
        return [
            ReceiptRow(
                id=self.uuid(row[0]),
                bind=row[1],
                provider_id=row[2],
                id_format=row[3],
                destination=row[4],
                state=None if row[5] is None else MessageState(row[5]),
                status=row[6],
                code=row[7],
            )
            for row in rows
        ]

    async def part_states(self, ids: Sequence[UUID]) -> dict[UUID, dict[int, MessageState]]:
        """The states of all stored segments of some messages."""
        states: dict[UUID, dict[int, MessageState]] = {}
        for message_id, part, state in await self.fetch("read_parts", ids=list(ids)):
            states.setdefault(self.uuid(message_id), {})[part] = MessageState(state)
        return states


def _columns(change: Change) -> dict[str, Any]:
    held, outcome = change.held, change.outcome
    return {
        "id": held.id,
        "run_at": held.run_at,
        "has_run": held.run_id is not None,
        "old_state": held.state.value,
        "old_seq": held.seq,
        "state": change.state.value,
        "seq": held.seq + len(change.noted),
        "attempts": change.attempts,
        "resends": change.resends,
        "delay": None if change.delay is None else _seconds(change.delay),
        "parts": change.parts,
        **(_NO_WORDS if outcome is None else _words(outcome)),
    }


def _seconds(delay: timedelta) -> float:
    return min(max(delay, timedelta(0)), LONGEST_DELAY).total_seconds()


_NO_WORDS = MappingProxyType(
    {"code": None, "enhanced": None, "detail": None, "failure_class": None, "provider_id": ""}
)


def _words(outcome: Outcome) -> dict[str, Any]:
    return {
        "code": clean(outcome.code, CODE_LENGTH),
        "enhanced": clean(outcome.enhanced, ENHANCED_LENGTH),
        "detail": clean(outcome.text, DETAIL_LENGTH),
        "failure_class": outcome.failure_class.value if outcome.failure_class else None,
        "provider_id": clean(outcome.provider_id, ID_LENGTH),
    }


def _events(change: Change) -> list[dict[str, Any]]:
    held, outcome = change.held, change.outcome
    words = _NO_WORDS if outcome is None else _words(outcome)
    return [
        {
            "id": held.id,
            "run_at": held.run_at,
            "tenant_id": held.tenant_id,
            "seq": held.seq + number,
            "old_state": old.value,
            "state": state.value,
            "attempts": change.attempts if state is change.state else held.attempts,
            "code": words["code"] or "",
            "failure_class": words["failure_class"],
            "detail": change.note if outcome is None else words["detail"],
            "intended_at": held.intended_at if old is MessageState.SENDING else None,
        }
        for number, (old, state) in enumerate(change.noted, 1)
    ]


def part_key(provider_id: str) -> str:
    """The indexed form of an id, cut to its column."""
    return id_key(clean(provider_id, ID_LENGTH))[:ID_LENGTH]
