"""A rate's line: whoever asks, and however, the rate is kept and shared."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.budgets.purse import Purse
from ignition_ext.budgets.rate import AHEAD, CATCH_UP, LONGEST_SHARE, Limit, Line, Want, grant

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
BURST_SECONDS = 1.0
"""Of the rate: what docs/throttling.md promises beyond an even flow."""


def line(rate: float = 100, **changes: object) -> Line:
    values: dict[str, object] = {
        "rate": rate,
        "revision": 0,
        "share": LONGEST_SHARE,
        "next_at": START - timedelta(hours=1),
    }
    return Line(**(values | changes))  # type: ignore[arg-type]  each by its name


def want(rate: float = 100, **changes: object) -> Want:
    revision = changes.pop("revision", 0)
    limit = Limit(key="tenant:acme", rate=rate, revision=revision)  # type: ignore[arg-type]
    return Want(**({"limit": limit, "count": 10_000} | changes))  # type: ignore[arg-type]


@dataclass
class Sender:
    """Takes places as fast as it may, in steps of simulated time."""

    purse: Purse
    pauses: set[int] = field(default_factory=set)
    used: list[float] = field(default_factory=list)


def simulate(rate: float, senders: list[Sender], seconds: float, step: float = 0.01) -> None:
    """Senders side by side on one line; each looks every ``step``, unless it pauses."""
    shared = line(rate)
    for tick in range(int(seconds / step)):
        now = tick * step
        for sender in senders:
            if tick // 20 in sender.pauses:
                continue
            while sender.purse.take(now) == 0:
                sender.used.append(now)
            if count := sender.purse.want(now):
                asked = Want(limit=sender.purse.limit, count=count)
                shared, answer = grant(shared, asked, START + timedelta(seconds=now))
                sender.purse.granted(answer, now)


def most_beyond(rate: float, used: list[float]) -> float:
    """The largest number in any window, less what the rate allows in it."""
    times = sorted(used)
    most = 0.0
    for first, begin in enumerate(times):
        for width in (0.0, 0.1, 0.5, 1.0, 3.0):
            count = bisect_right(times, begin + width) - first
            most = max(most, count - rate * width)
    return most


@given(
    rate=st.sampled_from([0.5, 7, 50, 400]),
    pauses=st.lists(st.sets(st.integers(0, 19)), min_size=1, max_size=6),
)
def test_no_window_holds_more_than_rate_and_burst(rate: float, pauses: list[set[int]]) -> None:
    """However many senders there are, and whenever they stall."""
    limit = Limit(key="k", rate=rate)
    senders = [Sender(Purse(limit), off) for off in pauses]
    simulate(rate, senders, seconds=4)

    used = [at for sender in senders for at in sender.used]
    assert most_beyond(rate, used) <= max(1.0, rate * BURST_SECONDS) + 1


@pytest.mark.parametrize("count", [1, 2, 5, 20])
@pytest.mark.parametrize("rate", [30, 1000])
def test_senders_use_the_whole_rate_in_equal_shares(rate: float, count: int) -> None:
    """Nobody is starved, and nothing is left unused."""
    senders = [Sender(Purse(Limit(key="k", rate=rate))) for _ in range(count)]
    simulate(rate, senders, seconds=40)

    shares = [len(sender.used) for sender in senders]
    assert sum(shares) == pytest.approx(40 * rate, rel=0.1)
    assert max(shares) <= 1.35 * min(shares) + 2


def test_a_rate_takes_two_small_transactions_a_second() -> None:
    """At any speed."""
    purse = Purse(Limit(key="k", rate=5000))
    asked = 0
    shared = line(5000)
    for tick in range(10_000):
        now = tick / 1000
        while purse.take(now) == 0:
            pass
        if count := purse.want(now):
            asked += 1
            shared, answer = grant(shared, want(5000, count=count), START + timedelta(seconds=now))
            purse.granted(answer, now)

    assert asked <= 2 * 10 + 12  # it begins small and doubles


@pytest.mark.parametrize("latency", [0.002, 0.05, 0.3])
def test_a_rate_that_nobody_reaches_costs_no_more_transactions(latency: float) -> None:
    """Places that come late from a slow database are used before they lapse."""
    purse = Purse(Limit(key="k", rate=100_000))
    shared = line(100_000)
    now, asked, used = 0.0, 0, 0
    while now < 10:
        while purse.take(now) == 0:
            used += 1
            now += 0.001
        if count := purse.want(now):
            asked += 1
            shared, answer = grant(
                shared, want(100_000, count=count), START + timedelta(seconds=now)
            )
            now += latency
            purse.granted(answer, now)
        now += 0.001

    assert used / asked >= 16


def test_shares_shrink_when_many_are_in_line() -> None:
    """So that a round of all takes about a second, and grow again."""
    shared = line(100)
    waits = []
    for _ in range(100):
        shared, answer = grant(shared, want(), START)
        waits.append(answer.wait)
    assert answer.tokens == 1
    assert [wait for wait in waits if wait < AHEAD] == waits[: len([w for w in waits if w < AHEAD])]

    for second in range(200, 230):
        shared, answer = grant(shared, want(), START + timedelta(seconds=second))
    assert answer.tokens == 100 * LONGEST_SHARE


def test_missed_places_are_made_up_for_only_briefly() -> None:
    """After an hour of silence there is no burst."""
    _, answer = grant(line(), want(), START)

    assert answer.wait == -CATCH_UP


def test_places_that_are_too_far_ahead_are_not_taken() -> None:
    """The line stays as it was, and the wait is told."""
    before = line(next_at=START + timedelta(seconds=40))
    after, answer = grant(before, want(patience=30), START)

    assert (answer.tokens, answer.wait) == (0, 40)
    assert after == before


def test_given_back_places_go_to_the_next() -> None:
    """The line moves back by as many."""
    taken, first = grant(line(10), want(10, count=5), START)
    after, _ = grant(taken, want(10, count=0, back=4), START)

    assert first.tokens == 5
    assert taken.next_at - after.next_at == timedelta(seconds=0.4)


def test_a_new_rate_counts_at_once_and_an_old_one_no_more() -> None:
    """Places that were given out far ahead at the old rate move up."""
    slow = line(0.01, next_at=START + timedelta(seconds=200))
    faster, answer = grant(slow, want(100, revision=2, count=1), START)
    assert answer.wait == pytest.approx(0.02)
    same, answer = grant(faster, want(0.01, revision=1, count=1), START)

    assert (answer.rate, answer.revision) == (100, 2)
    assert (same.rate, same.revision) == (100, 2)


def test_what_closes_gives_back_only_what_is_still_to_come() -> None:
    """Places whose time has passed are gone for everyone."""
    purse = Purse(Limit(key="k", rate=10))
    _, answer = grant(line(10, next_at=START), want(10, count=5), START)
    purse.granted(answer, 0)
    assert purse.take(0) == 0

    assert purse.empty(0.25) == 2
    assert purse.empty(0.25) == 0


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 2)), max_size=40))
def test_an_exact_purse_asks_for_what_waits(steps: list[tuple[int, float]]) -> None:
    """Never for more than there are messages."""
    purse = Purse(Limit(key="k", rate=20), exact=True)
    shared = line(20)
    for (needed, _), now in zip(steps, accumulate(wait for _, wait in steps), strict=True):
        purse.needed = needed
        count = purse.want(now)
        assert count <= needed
        if count:
            asked = Want(limit=purse.limit, count=count)
            shared, answer = grant(shared, asked, START + timedelta(seconds=now))
            purse.granted(answer, now)
            assert answer.tokens <= count
