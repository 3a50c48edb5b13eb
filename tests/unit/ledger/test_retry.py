"""Retry policies: the waits they choose, and when they stop."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger.retry import STRATEGIES, StandardRetry
from ignition_ext.values import Outcome, OutcomeKind

DEFERRED = Outcome(kind=OutcomeKind.DEFERRED, code="451")


def seconds(policy: StandardRetry, attempts: int, outcome: Outcome = DEFERRED) -> float | None:
    delay = policy.decide(outcome, attempts).delay
    return None if delay is None else delay.total_seconds()


@pytest.mark.parametrize(
    ("strategy", "waits"),
    [
        ("fixed", [30, 30, 30, 30, None]),
        ("linear", [30, 60, 90, 100, None]),
        ("exponential", [30, 60, 100, 100, None]),
        ("exponential_jitter", [22.5, 45, 75, 75, None]),
    ],
)
def test_waits_grow_as_the_strategy_says(strategy: str, waits: list[float | None]) -> None:
    """Up to the cap, and none after the last attempt."""
    policy = StandardRetry(
        strategy=strategy,
        attempts=5,
        base=timedelta(seconds=30),
        max=timedelta(seconds=100),
        chance=lambda: 0.5,
    )

    assert [seconds(policy, attempts) for attempts in range(1, 6)] == waits


def test_the_server_may_ask_for_a_longer_wait() -> None:
    """Its time counts when it is longer than ours, also above our cap."""
    policy = StandardRetry(strategy="fixed", base=timedelta(seconds=30))
    for asked, expected in ((5, 30), (7200, 7200)):
        outcome = Outcome(kind=OutcomeKind.DEFERRED, retry_after=timedelta(seconds=asked))
        assert seconds(policy, 1, outcome) == expected


def test_an_uncharged_refusal_never_uses_up_attempts() -> None:
    """A throttled message goes on, whatever was judged before."""
    policy = StandardRetry(attempts=1, strategy="fixed")
    throttled = Outcome(kind=OutcomeKind.DEFERRED, charges_attempt=False)

    assert seconds(policy, 0, throttled) == seconds(policy, 9, throttled) == 30


@given(
    strategy=st.sampled_from(STRATEGIES),
    attempts=st.integers(1, 100),
    attempt=st.integers(0, 200),
    base=st.timedeltas(timedelta(0), timedelta(days=30)),
    cap=st.timedeltas(timedelta(0), timedelta(days=30)),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_no_wait_is_negative_or_above_the_cap(
    strategy: str,
    attempts: int,
    attempt: int,
    base: timedelta,
    cap: timedelta,
    chance: float,
) -> None:
    """Whatever the numbers, and none once the attempts are used up."""
    policy = StandardRetry(
        strategy=strategy, attempts=attempts, base=base, max=cap, chance=lambda: chance
    )
    decision = policy.decide(DEFERRED, attempt)

    assert (decision.delay is None) == (attempt >= attempts)
    assert decision.delay is None or timedelta(0) <= decision.delay <= cap
    assert decision.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "often"},
        {"attempts": 0},
        {"base": timedelta(-1)},
        {"max": timedelta(-1)},
    ],
)
def test_a_wrong_policy_is_refused(wrong: dict[str, object]) -> None:
    """With the mend."""
    with pytest.raises(ConfigurationError) as caught:
        StandardRetry(**wrong)  # type: ignore[arg-type]  # the wrong value is the point
    assert caught.value.mend
