"""A benchmark counts only when every message of it is accounted for, here and on the far side."""

from __future__ import annotations

from collections.abc import Mapping

from ignition_ext.errors import IgnitionError
from ignition_ext.values import MessageState


def require_all_sent(counts: Mapping[MessageState, int], messages: int) -> None:
    """Check that the ledger holds so many messages and that all of them were sent.

    Raises:
        IgnitionError: it does not, or they were not.
    """
    told = {state.value: count for state, count in counts.items() if count}
    if told != {MessageState.SENT.value: messages}:
        raise IgnitionError(
            f"{told.get(MessageState.SENT.value, 0)} of {messages} messages were sent;"
            f" the ledger says {told}.",
            mend="A server that refuses or defers messages cannot be measured against.",
        )


def require_same(far_side: int, ledger: int) -> None:
    """Check that the far side took what the ledger says was sent (SMS: segments).

    Raises:
        IgnitionError: it did not.
    """
    if far_side != ledger:
        raise IgnitionError(
            f"the far side took {far_side} messages, the ledger says that {ledger} were sent."
        )
