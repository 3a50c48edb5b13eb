"""When progress is worth telling: about once a second, and at once when much has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ignition_ext.values import OPEN_STATES, MessageState

TELL_EVERY_SECONDS = 1.0
"""A reader sees no more, and each telling is a request to the Prefect server."""
TELL_EVERY_PERCENT = 5.0
"""A run of some seconds still shows steps; but never two of them within this much time:"""
TELL_AT_LEAST_APART_SECONDS = 0.25


@dataclass(slots=True)
class Throttle:
    """Decides whether a percentage is to be told; the clock is handed in."""

    told_at: float = float("-inf")
    told: float = -1.0

    def due(self, percent: float, now: float) -> bool:
        """True when it should be told now, and then taken as told."""
        waited = now - self.told_at
        stepped = percent - self.told >= TELL_EVERY_PERCENT
        if percent == self.told or waited < TELL_AT_LEAST_APART_SECONDS:
            return False
        if waited < TELL_EVERY_SECONDS and not stepped:
            return False
        self.told_at, self.told = now, percent
        return True


def percent_done(counts: Mapping[MessageState, int]) -> float:
    """How much of a run needs no sender any more, 0 to 100; an empty run is done."""
    total = sum(counts.values())
    still_open = sum(counts.get(state, 0) for state in OPEN_STATES)
    return 100.0 * (total - still_open) / total if total else 100.0


def summary(counts: Mapping[MessageState, int]) -> str:
    """``998 sent, 2 failed``: the states that are not empty, in the order of a message's life."""
    parts = [f"{counts[state]} {state.value}" for state in ORDER if counts.get(state)]
    return ", ".join(parts) or "no messages"


ORDER = (
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.FAILED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
    MessageState.SUPPRESSED,
    MessageState.UNCERTAIN,
    MessageState.CANCELLED,
    MessageState.EXPIRED,
    MessageState.DEFERRED,
    MessageState.SENDING,
    MessageState.CLAIMED,
    MessageState.PENDING,
)
"""How counts are listed: outcomes first, what is still open last."""
