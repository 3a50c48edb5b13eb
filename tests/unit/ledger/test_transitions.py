"""The table of transitions says what the design says."""

from __future__ import annotations

import pytest

from ignition_ext.ledger.transitions import TRANSITIONS, is_allowed, require_path
from ignition_ext.values import MessageState

S = MessageState
DESIGN = {
    "pending deferred": "claimed cancelled expired suppressed",
    "claimed": "sending pending suppressed failed cancelled expired",
    "sending": "sent deferred failed uncertain pending",
    "sent": "delivered failed expired bounced complained",
    "delivered": "bounced complained",
    "uncertain": "sent delivered bounced failed pending",
    "failed": "pending",
}


def test_the_table_is_the_designs() -> None:
    """Each state of the design's list becomes just what stands there, every other one nothing."""
    written = {
        (old, new) for olds, news in DESIGN.items() for old in olds.split() for new in news.split()
    }

    assert {(old, new) for old in S for new in S if is_allowed(old, new)} == written
    assert set(TRANSITIONS) == set(S)


def test_a_path_outside_the_table_is_refused() -> None:
    """Each step is looked up, also those in the middle."""
    require_path(S.PENDING, [S.CLAIMED, S.SENDING, S.SENT])
    with pytest.raises(ValueError, match="from claimed to sent"):
        require_path(S.PENDING, [S.CLAIMED, S.SENT])
