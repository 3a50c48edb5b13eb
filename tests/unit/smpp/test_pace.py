"""Tokens and back-off, at times that the test sets."""

from __future__ import annotations

import pytest

from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.pace import Pace

NOW = 1000.0


def make(**changes: object) -> Pace:
    """A pace that was made at ``NOW``."""
    values: dict[str, object] = {"host": "h", "throttle_base": 1.0, "throttle_max": 8.0} | changes
    return Pace(SmppOptions(**values), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("greedy", [False, True], ids=["one by one", "all at once"])
@pytest.mark.parametrize("rate", [0.5, 3, 25, 1000])
def test_no_second_sees_more_than_the_rate(rate: float, greedy: bool) -> None:
    """Whatever the writer does, each second holds at most the rate and one burst."""
    pace, now = make(rate=rate), NOW
    times: list[float] = []
    while now < NOW + 10:
        count = pace.allowance(now)
        if count:
            count = count if greedy else 1
            pace.spend(count)
            times += [now] * count
        else:
            now += max(pace.wait(now), 1e-6)
    for start in times:
        within = [one for one in times if start <= one < start + 1]
        assert len(within) <= rate + max(1, rate * 0.1) + 1
    assert len(times) >= rate * 9


def test_without_a_rate_nothing_waits() -> None:
    """The window alone sets the pace."""
    pace = make(window=7)

    for _ in range(10_000):
        assert pace.wait(NOW) == 0
        assert pace.allowance(NOW) == 7
        pace.spend(7)


def test_throttling_pauses_and_halves_the_window_once() -> None:
    """A whole window of 0x58 is one complaint."""
    pace = make(window=64)
    for _ in range(64):
        pace.throttled(NOW)

    assert pace.window == 32
    assert 0.7 < pace.wait(NOW) <= 1.25
    assert pace.soon(NOW) == pace.allowance(NOW) == 0
    assert pace.wait(NOW + 1.3) == 0
    assert pace.allowance(NOW + 1.3) > 0


def test_pauses_double_up_to_their_limit() -> None:
    """And begin anew once the SMSC is content."""
    pace, now = make(window=4), NOW
    pauses = []
    for _ in range(6):
        pace.throttled(now)
        pauses.append(pace.wait(now))
        now += pauses[-1] + 0.001

    assert all(
        0.75 * expected <= pause <= 1.25 * expected
        for pause, expected in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True)
    )
    pace.answered(1, now)
    pace.throttled(now)
    assert pace.wait(now) <= 1.25


@pytest.mark.parametrize("at_a_time", [1, 7, 50])
def test_good_answers_win_the_window_back(at_a_time: int) -> None:
    """Step by step, not at once, however many answers come together."""
    pace = make(window=32)
    pace.throttled(NOW)
    sizes = []
    for _ in range(0, 2000, at_a_time):
        pace.answered(at_a_time, NOW + 10)
        sizes.append(pace.window)

    assert sizes[0] <= 16 + 2 * (1 + at_a_time // 16)
    assert sizes == sorted(sizes)
    assert sizes[-1] == 32


def test_answers_together_count_as_much_as_one_by_one() -> None:
    """A batch is only a way of telling."""
    single, batch = make(window=32), make(window=32)
    for pace in (single, batch):
        pace.throttled(NOW)
    for _ in range(100):
        single.answered(1, NOW + 10)
    batch.answered(100, NOW + 10)

    assert single.window == batch.window > 16


def test_the_window_never_closes() -> None:
    """One part at a time still gets through."""
    pace, now = make(window=10), NOW
    for _ in range(20):
        pace.throttled(now)
        now += 100
    assert pace.window == 1
