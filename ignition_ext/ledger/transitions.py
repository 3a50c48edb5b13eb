"""The changes of state that a message may go through, as data; nothing else ever happens.

Each UPDATE of the ledger names the state that it starts from, and each pair that it writes is
looked up here first: the table is the law, the statements only carry it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ignition_ext.values import MessageState

_S = MessageState
TRANSITIONS: Mapping[MessageState, frozenset[MessageState]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.CLAIMED, _S.SUPPRESSED, _S.CANCELLED, _S.EXPIRED}),
        _S.DEFERRED: frozenset({_S.CLAIMED, _S.SUPPRESSED, _S.CANCELLED, _S.EXPIRED}),
        _S.CLAIMED: frozenset(
            {_S.SENDING, _S.PENDING, _S.SUPPRESSED, _S.FAILED, _S.CANCELLED, _S.EXPIRED}
        ),
        _S.SENDING: frozenset({_S.SENT, _S.DEFERRED, _S.FAILED, _S.UNCERTAIN, _S.PENDING}),
        _S.SENT: frozenset({_S.DELIVERED, _S.FAILED, _S.EXPIRED, _S.BOUNCED, _S.COMPLAINED}),
        _S.DELIVERED: frozenset({_S.BOUNCED, _S.COMPLAINED}),
        # To pending only in a run that promises at-least-once.
        _S.UNCERTAIN: frozenset({_S.SENT, _S.DELIVERED, _S.BOUNCED, _S.FAILED, _S.PENDING}),
        # To pending only by redrive.
        _S.FAILED: frozenset({_S.PENDING}),
        _S.BOUNCED: frozenset(),
        _S.COMPLAINED: frozenset(),
        _S.SUPPRESSED: frozenset(),
        _S.CANCELLED: frozenset(),
        _S.EXPIRED: frozenset(),
    }
)
"""What each state may become. A message begins as ``pending``."""


def is_allowed(old: MessageState, new: MessageState) -> bool:
    """Whether the ledger knows this change."""
    return new in TRANSITIONS[old]


def require_path(start: MessageState, steps: Sequence[MessageState]) -> None:
    """Check a walk through the states.

    Raises:
        ValueError: a step of it is not in the table; that is a mistake in the ledger's rules.
    """
    old = start
    for new in steps:
        if not is_allowed(old, new):
            raise ValueError(f"a message never goes from {old} to {new}")
        old = new
