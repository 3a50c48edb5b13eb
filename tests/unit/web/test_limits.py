"""Uses of one link: so many at once, so many again with time, and no memory without end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.web import limits
from ignition_ext.web.limits import Limits


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from("ab")), max_size=80))
def test_never_more_than_the_bucket_and_what_came_back(steps: list[tuple[float, str]]) -> None:
    """For each key by itself, over any times."""
    now = 0.0
    bucket = Limits(burst=3, per_second=0.5, clock=lambda: now)
    used = {"a": 0, "b": 0}
    for wait, key in steps:
        now += wait
        used[key] += bucket.allows(key)
        assert used[key] <= 3 + 0.5 * now + 1e-6


def test_a_key_is_refused_and_comes_back() -> None:
    """After the time that Retry-After names."""
    now = 0.0
    bucket = Limits(burst=2, per_second=0.5, clock=lambda: now)

    assert [bucket.allows("a") for _ in range(3)] == [True, True, False]
    now += bucket.retry_after
    assert bucket.allows("a")
    assert not bucket.allows("a")


def test_the_oldest_is_forgotten(monkeypatch) -> None:
    """Nobody fills the memory with links."""
    monkeypatch.setattr(limits, "MOST_KEYS", 10)
    bucket = Limits(burst=1, per_second=1e-9)
    for key in range(50):
        assert bucket.allows(key)
    assert len(bucket._buckets) == 10
    assert not bucket.allows(49)
    assert bucket.allows(0)
