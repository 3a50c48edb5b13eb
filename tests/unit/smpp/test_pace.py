"""Tokens and back-off, with a clock in the hand."""

from __future__ import annotations

import pytest

from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.pace import Pace


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(**changes: object) -> tuple[Pace, Clock]:
    """A pace and its clock."""
    clock = Clock()
    values: dict[str, object] = {"host": "h", "throttle_base": 1.0, "throttle_max": 8.0} | changes
    return Pace(SmppOptions(**values), clock), clock  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0.5, 3, 25, 1000])
def test_no_second_sees_more_than_the_rate(rate: float) -> None:
    """Whatever the writer does, each second holds at most the rate and one burst."""
    pace, clock = make(rate=rate)
    times = []
    while clock.now < 1010:
        if pace.wait() == 0:
            pace.spend()
            times.append(clock.now)
        else:
            clock.now += max(pace.wait(), 1e-6)
    for start in times:
        within = [one for one in times if start <= one < start + 1]
        assert len(within) <= rate + max(1, rate * 0.1) + 1
    assert len(times) >= rate * 9


def test_without_a_rate_nothing_waits() -> None:
    """The window alone sets the pace."""
    pace, _ = make()

    for _ in range(10_000):
        assert pace.wait() == 0
        pace.spend()


def test_throttling_pauses_and_halves_the_window_once() -> None:
    """A whole window of 0x58 is one complaint."""
    pace, clock = make(window=64)
    for _ in range(64):
        pace.throttled()

    assert pace.window == 32
    assert 0.7 < pace.wait() <= 1.25
    assert pace.soon() == 0
    clock.now += 1.3
    assert pace.wait() == 0


def test_pauses_double_up_to_their_limit() -> None:
    """And begin anew once the SMSC is content."""
    pace, clock = make(window=4)
    pauses = []
    for _ in range(6):
        pace.throttled()
        pauses.append(pace.wait())
        clock.now += pauses[-1] + 0.001

    assert all(
        0.75 * expected <= pause <= 1.25 * expected
        for pause, expected in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True)
    )
    pace.answered()
    pace.throttled()
    assert pace.wait() <= 1.25


def test_good_answers_win_the_window_back() -> None:
    """Step by step, not at once."""
    pace, clock = make(window=32)
    pace.throttled()
    clock.now += 10
    sizes = []
    for _ in range(2000):
        pace.answered()
        sizes.append(pace.window)

    assert sizes[0] == 16
    assert sizes == sorted(sizes)
    assert sizes[-1] == 32


def test_the_window_never_closes() -> None:
    """One part at a time still gets through."""
    pace, clock = make(window=10)
    for _ in range(20):
        pace.throttled()
        clock.now += 100
    assert pace.window == 1
