"""When a refused message is tried again: pure arithmetic, the chance is handed in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import SystemRandom

from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger.contract import RetryDecision
from ignition_ext.values import Outcome

STRATEGIES = ("fixed", "linear", "exponential", "exponential_jitter")
_DOUBLINGS = 40
"""More doublings overflow a timedelta; the cap ``max`` is reached long before."""


class StandardRetry:
    """Fixed, linear or doubling waits, bounded by ``max`` and by a number of judged attempts.

    Args:
        strategy: one of :data:`STRATEGIES`. ``exponential_jitter`` waits between half of the
            doubled time and all of it, so that what was refused together does not return together.
        attempts: how many times a server may judge a message; the last refusal is final.
        base: the first wait, and the step of the linear strategy.
        max: the longest wait that we choose; a server that asks for a longer one gets it.
        chance: numbers from 0 to below 1, for the jitter.

    Raises:
        ConfigurationError: an unknown strategy or a number out of range.
    """

    def __init__(
        self,
        *,
        strategy: str = "exponential_jitter",
        attempts: int = 5,
        base: timedelta = timedelta(seconds=30),
        max: timedelta = timedelta(hours=1),
        chance: Callable[[], float] | None = None,
    ) -> None:
        if strategy not in STRATEGIES:
            raise ConfigurationError(
                f"retry strategy {strategy!r} is unknown.",
                mend=f"Write one of {', '.join(STRATEGIES)}.",
            )
        if attempts < 1 or base < timedelta(0) or max < timedelta(0):
            raise ConfigurationError(
                "a retry policy needs at least one attempt and waits that are not negative.",
                mend="Correct attempts, base and max under retry.",
            )
        self.strategy, self.attempts, self.base, self.max = str(strategy), attempts, base, max
        self._chance = chance or SystemRandom().random

    def decide(self, outcome: Outcome, attempts: int) -> RetryDecision:
        """Again after a wait, or not; ``attempts`` counts judged ones, this one included.

        A refusal that does not charge an attempt (a throttled server, a lost bind) is always
        tried again: only the run's deadline ends that.
        """
        if outcome.charges_attempt and attempts >= self.attempts:
            return RetryDecision(delay=None, reason=f"all {self.attempts} attempts are used up")
        delay = self._wait(max(attempts, 1))
        if outcome.retry_after is not None and outcome.retry_after > delay:
            return RetryDecision(delay=outcome.retry_after, reason="the server named the time")
        return RetryDecision(delay=delay, reason=f"attempt {attempts} of {self.attempts}")

    def _wait(self, attempts: int) -> timedelta:
        match self.strategy:
            case "fixed":
                wait = self.base
            case "linear":
                wait = self.base * min(attempts, self.attempts + 1)
            case "exponential" | "exponential_jitter":
                wait = self._doubled(attempts)
            case other:
                raise AssertionError(other)
        return min(wait, self.max)

    def _doubled(self, attempts: int) -> timedelta:
        seconds = self.base.total_seconds() * 2.0 ** min(attempts - 1, _DOUBLINGS)
        wait = timedelta(seconds=min(seconds, self.max.total_seconds()))
        return wait * (0.5 + self._chance() / 2) if self.strategy.endswith("jitter") else wait
