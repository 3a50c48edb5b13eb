"""The figures of the benchmark of starts."""

from __future__ import annotations

import pytest

from ignition_ext.bench.start import percentiles, start_table


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0], {"p50": 1.0, "p95": 1.0}),
        ([2.0, 1.0], {"p50": 1.0, "p95": 2.0}),
        ([float(n) for n in range(1, 101)], {"p50": 50.0, "p95": 95.0}),
        ([0.1] * 19 + [9.0], {"p50": 0.1, "p95": 0.1}),
        ([0.1] * 18 + [9.0] * 2, {"p50": 0.1, "p95": 9.0}),
    ],
    ids=["one", "two", "hundred", "one of twenty", "two of twenty"],
)
def test_percentiles_are_values_that_were_measured(
    values: list[float], expected: dict[str, float]
) -> None:
    """By the nearest rank, in whatever order they come."""
    assert percentiles(values[::-1]) == expected


def test_a_row_for_each_worker() -> None:
    """Ours first."""
    figures = {"ad_hoc": {"p50": 1}, "scheduled": {"min": 2}}

    rows = start_table({**figures, "peers": {"process_worker": figures}, "schedules": 3})

    assert [row["worker"] for row in rows] == ["ignition", "process_worker"]
    assert all(row["at once, p50"] == 1 and row["at a time, min"] == 2 for row in rows)
