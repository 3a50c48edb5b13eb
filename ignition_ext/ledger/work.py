"""One open transaction of the ledger, whichever database it is on.

Named statements go in, values come out. What both databases do alike is written here once; the
subclasses know their driver, how it takes many rows at once, and the few statements that differ
in kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from ignition_ext.ledger.contract import ClaimedMessage, NewMessage
from ignition_ext.ledger.provider_ids import id_key
from ignition_ext.ledger.rows import (
    CODE_LENGTH,
    DETAIL_LENGTH,
    ENHANCED_LENGTH,
    ID_LENGTH,
    Change,
    Held,
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
    RunId,
    RunRef,
    RunState,
    TenantId,
)

Row = tuple[Any, ...]
LONGEST_DELAY = timedelta(days=366)
"""A server may name any time. Past the year 9999 SQLite's clock says NULL, and the message would
never fall due; PostgreSQL refuses the whole batch."""


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
    async def add_messages(
        self, run: RunRef, messages: Sequence[NewMessage], room: int | None
    ) -> int:
        """Add those that the run does not know, at most ``room``; returns how many."""

    @abstractmethod
    async def claim_due(
        self, run: RunRef, lease: LeaseId, duration: timedelta, limit: int
    ) -> tuple[list[ClaimedMessage], int]:
        """Claim due messages; returns them, and how many rows were due before suppression."""

    @abstractmethod
    async def intend(
        self, run: RunRef, lease: LeaseId, ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """claimed -> sending for what the lease holds."""

    @abstractmethod
    async def renew(self, run: RunRef, lease: LeaseId, duration: timedelta) -> None:
        """Move the end of a lease."""

    async def run(self, name: str, run_id: UUID) -> RunRow | None:
        """A run's row, by ``read_run``, ``share_run`` or ``lock_run``."""
        rows = await self.fetch(name, run_id=run_id)
        if not rows:
            return None
        state, is_overdue, has_snapshot, max_messages = rows[0]
        return RunRow(
            state=RunState(state),
            is_overdue=bool(is_overdue),
            has_snapshot=bool(has_snapshot),
            max_messages=max_messages,
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

    async def lapsed_runs(self) -> list[RunRef]:
        """The runs in which a lease has lapsed."""
        return [
            RunRef(
                id=RunId(self.uuid(run_id)), run_at=self.time(run_at), tenant_id=TenantId(tenant)
            )
            for run_id, run_at, tenant in await self.fetch("read_lapsed_runs")
        ]

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
        events = [event for change in changes for event in _events(change)]
        await self.write("add_events", events)
        written = await self.write("apply_changes", [_columns(change) for change in changes])
        if written != len(changes):
            raise RuntimeError(f"{len(changes) - written} messages changed under the lock")

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
            for row in await self.fetch("find_receipts", binds=sorted(binds), keys=sorted(keys))
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
        "old_state": held.state.value,
        "old_seq": held.seq,
        "state": change.state.value,
        "seq": held.seq + len(change.steps),
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
    old = (held.state, *change.steps)
    last = len(change.steps) - 1
    words = _NO_WORDS if outcome is None else _words(outcome)
    return [
        {
            "id": held.id,
            "run_at": held.run_at,
            "seq": held.seq + step + 1,
            "old_state": old[step].value,
            "state": state.value,
            "attempts": change.attempts if step == last else held.attempts,
            "code": words["code"] or "",
            "failure_class": words["failure_class"],
            "detail": change.note if outcome is None else words["detail"],
        }
        for step, state in enumerate(change.steps)
    ]


def part_key(provider_id: str) -> str:
    """The indexed form of an id, cut to its column."""
    return id_key(clean(provider_id, ID_LENGTH))
