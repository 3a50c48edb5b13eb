"""The position in PostgreSQL's transactions, against a history that hypothesis makes up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import ignition_ext
from ignition_ext.outcomes.position import MOST_MARKS, Mark, Position, Snapshot

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Transaction:
    """One that adds a row with the time at which it began."""

    number: int
    began: int
    over: bool = False


def seen_by(snapshot: Snapshot, number: int) -> bool:
    if number < snapshot.xmin:
        return True
    return number < snapshot.xmax and number not in snapshot.running


STEPS = st.lists(
    st.one_of(
        st.just(("begin", 0)),
        st.tuples(st.just("end"), st.integers(0, 20)),
        st.just(("pass", 0)),
    ),
    max_size=150,
)


@given(STEPS)
def test_each_row_is_read_once_and_never_missed(steps: list[tuple[str, int]]) -> None:
    """Whatever overlaps: between two positions lies exactly what became visible, and is in time."""
    transactions: list[Transaction] = []
    told: list[int] = []
    position = Position(Snapshot(0, 0), (Mark(NOON, 0),))
    for clock, (step, which) in enumerate([*steps, *(("end", 0),) * 150, ("pass", 0)], 1):
        running = [one for one in transactions if not one.over]
        if step == "begin":
            transactions.append(Transaction(len(transactions) + 1, clock))
        elif step == "end" and running:
            running[which % len(running)].over = True
        elif step == "pass":
            xmax = len(transactions) + 1
            numbers = tuple(one.number for one in running)
            snapshot = Snapshot(min((xmax, *numbers)), xmax, numbers)
            since = position.earliest()
            assert since is not None
            for one in transactions:
                if one.over and not seen_by(position.snapshot, one.number):
                    assert NOON + timedelta(seconds=one.began) >= since
                    told.append(one.number)
            position = Position.read(
                position.moved(snapshot, NOON + timedelta(seconds=clock)).stored()
            )
            assert len(position.marks) <= MOST_MARKS + 1

    assert sorted(told) == [one.number for one in transactions]


def test_a_position_without_marks_knows_no_time() -> None:
    """As the migration leaves it: the reader falls back on the oldest that it tells of."""
    assert Position.read({"snapshot": "7:9:7,8", "marks": []}).earliest() is None
    assert Position(Snapshot(7, 9), (Mark(NOON, 8),)).earliest() is None


def test_a_clock_that_was_set_back_moves_the_beginning_back() -> None:
    """Marks after the useful one count, too."""
    earlier = NOON - timedelta(hours=1)
    position = Position(Snapshot(9, 9), (Mark(NOON, 8), Mark(earlier, 9)))
    assert position.moved(Snapshot(12, 12), NOON).earliest() == NOON
    assert Position(Snapshot(8, 9), (Mark(NOON, 8), Mark(earlier, 9))).earliest() == earlier


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**62)))
def test_snapshots_are_read_as_they_are_written(xmin: int, running: list[int]) -> None:
    """PostgreSQL's text form."""
    snapshot = Snapshot(xmin, xmin + 5, tuple(running))
    assert Snapshot.parse(str(snapshot)) == snapshot


def test_who_writes_what_is_read_so_makes_no_savepoints() -> None:
    """The number of a subtransaction stands in no snapshot: its rows would be taken for seen."""
    for room in ("ledger", "returns", "delivery"):
        for file in (Path(ignition_ext.__file__).parent / room).rglob("*"):
            if file.suffix in (".py", ".sql"):
                words = file.read_text(encoding="utf-8").lower()
                assert "savepoint" not in words, file
                assert "begin_nested" not in words, file
