"""Walks one chain row by row and finds the first that is not as it was written. Pure.

The walk keeps one row in mind, whatever the chain's length. To tell *how* a chain was broken it
asks a few questions about the other rows (:class:`Neighbours`), once, at the break.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Protocol

from ignition_ext.audit.canonical import GENESIS, AuditRow, row_hash, row_statement
from ignition_ext.audit.keys import PublicKeys, holds
from ignition_ext.audit.report import Finding, FindingKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row as the database has it: what was hashed, and what was computed from it."""

    id: int
    row: AuditRow
    hash: str
    signature: str
    key_id: str


class Neighbours(Protocol):
    """What the walk may ask about the rest of the chain."""

    def follower(self, previous_hash: str, besides: int) -> Awaitable[bool]:
        """Whether a row other than that id follows the row with this hash."""
        ...

    def hash_exists(self, digest: str) -> Awaitable[bool]:
        """Whether a row has this hash."""
        ...


class Walk:
    """The state of a walk along one tenant's chain.

    Attributes:
        seq: the last row that held; 0 before the first.
        hash: its hash.
        unknown: the first row signed by a key that is not trusted, if any.
    """

    def __init__(self, tenant: str, keys: PublicKeys, neighbours: Neighbours) -> None:
        self.tenant, self.keys, self.neighbours = tenant, keys, neighbours
        self.seq, self.hash, self.hash_before = 0, GENESIS, ""
        self.unknown: Finding | None = None

    async def step(self, stored: StoredRow) -> Finding | None:
        """Take the next row; a finding ends the walk."""
        finding = await self._link(stored) or await self._signature(stored)
        if finding is None:
            self.seq, self.hash_before, self.hash = stored.row.seq, self.hash, stored.hash
        return finding

    def finding(self, seq: int, kind: FindingKind, text: str) -> Finding:
        """A finding in this chain."""
        return Finding(tenant=self.tenant, seq=seq, kind=kind, text=text)

    async def _link(self, stored: StoredRow) -> Finding | None:
        row, expected = stored.row, self.seq + 1
        if row.seq < expected:
            return self.finding(row.seq, FindingKind.INSERTED, "it stands where none can be.")
        if row.seq > expected:
            if await self.neighbours.follower(self.hash, 0) and row.previous_hash != self.hash:
                return self.finding(expected, FindingKind.REORDERED, "it was moved elsewhere.")
            last = f" to {row.seq - 1}" if row.seq - 1 > expected else ""
            return self.finding(expected, FindingKind.REMOVED, f"row {expected}{last} is missing.")
        if row.previous_hash != self.hash:
            return await self._wrong_predecessor(stored)
        if row_hash(row) == stored.hash:
            return None
        if await self.neighbours.follower(self.hash, stored.id):
            return self.finding(row.seq, FindingKind.INSERTED, "it was put between two rows.")
        return self.finding(row.seq, FindingKind.CHANGED, "its content was changed.")

    async def _wrong_predecessor(self, stored: StoredRow) -> Finding:
        row = stored.row
        if row.previous_hash == self.hash_before:
            return self.finding(
                self.seq, FindingKind.INSERTED, "it was put between two rows, signed by no one."
            )
        if row_hash(replace(row, previous_hash=self.hash)) == stored.hash:
            return self.finding(row.seq, FindingKind.CHANGED, "its previous_hash was changed.")
        moved = await self.neighbours.hash_exists(row.previous_hash)
        if await self.neighbours.follower(self.hash, stored.id):
            if moved:
                return self.finding(row.seq, FindingKind.REORDERED, "another row belongs here.")
            return self.finding(row.seq, FindingKind.INSERTED, "it was put between two rows.")
        return self.finding(
            row.seq, FindingKind.REMOVED, "the row that was here is missing, later ones moved up."
        )

    async def _signature(self, stored: StoredRow) -> Finding | None:
        seq = stored.row.seq
        key = self.keys.get(stored.key_id)
        if key is not None and holds(key, stored.signature, row_statement(stored.hash)):
            return None
        if stored.key_id and stored.signature and key is None:
            self.unknown = self.unknown or self.finding(
                seq,
                FindingKind.UNKNOWN_KEY,
                f"it is signed by the key {stored.key_id}, which is not known here.",
            )
            return None
        if await self.neighbours.follower(stored.row.previous_hash, stored.id):
            return self.finding(seq, FindingKind.INSERTED, "it was put between two rows.")
        if not stored.signature:
            return self.finding(seq, FindingKind.UNSIGNED, "it is not signed.")
        return self.finding(
            seq, FindingKind.RECOMPUTED, "its hash was computed anew: the signature is another's."
        )
