"""The rate over all connections."""

from __future__ import annotations

import pytest

from ignition_ext.channels.smtp.throttle import TokenBucket


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_places_are_spread_evenly() -> None:
    """Ten a second: each place is a tenth of a second behind the one before."""
    bucket = TokenBucket(10, _Clock())

    assert [round(bucket.reserve(), 6) for _ in range(4)] == [0, 0.1, 0.2, 0.3]


def test_idle_time_is_not_saved_up() -> None:
    """After a minute of silence at most a tenth of a second's worth goes out at once."""
    clock = _Clock()
    bucket = TokenBucket(100, clock)
    bucket.reserve()
    clock.now += 60

    at_once = [wait for wait in (bucket.reserve() for _ in range(50)) if wait == 0]

    assert len(at_once) <= 11


def test_a_rate_is_above_zero() -> None:
    """Zero would wait for ever."""
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(0, _Clock())
