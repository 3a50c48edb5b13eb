"""How far PostgreSQL's changes were read: by transactions, because commits have no order in time.

A snapshot (``pg_current_snapshot()``) says exactly which transactions were over. What a later
snapshot sees and an earlier one did not is new, however long its transaction took: nothing is
missed and nothing comes twice. Marks bound the times that such rows can bear, so that only the
newest part of the table is read. A mark is a time, and the first transaction number that had not
been given out then: a transaction with that number or a higher one noted no earlier time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MOST_MARKS = 32
"""Two passes' worth are usual; more pile up only while one transaction stays open for long. Marks
between are dropped then, which costs reading and misses nothing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions are over: all before ``xmin``; of the others those that are neither in
    ``running`` nor from ``xmax`` on."""

    xmin: int
    xmax: int
    running: tuple[int, ...] = ()

    @classmethod
    def parse(cls, written: str) -> Snapshot:
        """Reads ``xmin:xmax:xip,xip`` as PostgreSQL writes it."""
        xmin, xmax, running = written.split(":")
        return cls(int(xmin), int(xmax), tuple(int(one) for one in running.split(",") if one))

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"


NOTHING = Snapshot(0, 0)
"""No transaction is over: all that is seen is new."""


@dataclass(frozen=True, slots=True)
class Mark:
    """No transaction from number ``xmax`` on noted a time before ``at``."""

    at: datetime
    xmax: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far was read."""

    snapshot: Snapshot
    marks: tuple[Mark, ...] = ()

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Position:
        """The position as the database keeps it."""
        marks = tuple(Mark(datetime.fromisoformat(at), xmax) for at, xmax in stored["marks"])
        return cls(Snapshot.parse(stored["snapshot"]), marks)

    def stored(self) -> dict[str, Any]:
        """The position as the database keeps it."""
        marks = [[mark.at.isoformat(), mark.xmax] for mark in self.marks]
        return {"snapshot": str(self.snapshot), "marks": marks}

    def earliest(self) -> datetime | None:
        """No row that this position has not seen is of an earlier time; None where unknown."""
        useful = _useful(self.marks, self.snapshot)
        if not useful or useful[0].xmax > self.snapshot.xmin:
            return None
        # Not simply the first: a clock may have been set back between two marks.
        return min(mark.at for mark in useful)

    def moved(self, snapshot: Snapshot, at: datetime) -> Position:
        """The position after all that ``snapshot`` sees was read.

        Args:
            snapshot: what was read with.
            at: a time that no transaction which began later than the snapshot notes.
        """
        marks = (*self.marks, Mark(at, snapshot.xmax))
        return Position(snapshot, _thinned(_useful(marks, snapshot)))


def _useful(marks: Sequence[Mark], snapshot: Snapshot) -> tuple[Mark, ...]:
    """From the last mark that everything still running is later than; all where there is none."""
    over = [place for place, mark in enumerate(marks) if mark.xmax <= snapshot.xmin]
    return tuple(marks[over[-1] if over else 0 :])


def _thinned(marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    return marks if len(marks) <= MOST_MARKS else (*marks[:-1:2], marks[-1])
