"""Which ends of an email let a text message go instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.ledger.fallback_rules import (
    BOUNCED_BEFORE,
    OURS,
    EmailEnd,
    falls_back,
)
from ignition_ext.values import FailureClass, FallbackCause, MessageState

ALL = frozenset(FallbackCause)
USUAL = ALL - {FallbackCause.UNCERTAIN}
ENDS = st.builds(
    EmailEnd,
    state=st.sampled_from(MessageState),
    failure_class=st.none() | st.sampled_from(FailureClass),
    detail=st.sampled_from(
        ["", BOUNCED_BEFORE, "on the suppression list: opt_out", "no such user"]
    ),
    resends=st.integers(0, 3),
)
CHOICES = st.frozensets(st.sampled_from(FallbackCause), min_size=1)


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (EmailEnd(state=MessageState.FAILED, failure_class=FailureClass.MAILBOX), "failed"),
        (EmailEnd(state=MessageState.FAILED, failure_class=FailureClass.ATTEMPTS), "failed"),
        (EmailEnd(state=MessageState.FAILED, failure_class=FailureClass.POLICY), "failed"),
        (EmailEnd(state=MessageState.FAILED, failure_class=FailureClass.RENDER), None),
        (EmailEnd(state=MessageState.FAILED, failure_class=FailureClass.AUTH), None),
        (EmailEnd(state=MessageState.FAILED, failure_class=FailureClass.SENDER), None),
        (EmailEnd(state=MessageState.FAILED), "failed"),
        (EmailEnd(state=MessageState.BOUNCED, failure_class=FailureClass.ADDRESS), "bounced"),
        (EmailEnd(state=MessageState.EXPIRED, failure_class=FailureClass.AUTH), "expired"),
        (EmailEnd(state=MessageState.SUPPRESSED, detail=BOUNCED_BEFORE), "bounced"),
        (
            EmailEnd(state=MessageState.SUPPRESSED, detail="on the suppression list: complaint"),
            None,
        ),
        (EmailEnd(state=MessageState.SUPPRESSED, detail="over the frequency cap: 3 in 7d"), None),
        (EmailEnd(state=MessageState.UNCERTAIN), None),
        (EmailEnd(state=MessageState.COMPLAINED), None),
        (EmailEnd(state=MessageState.CANCELLED), None),
        (EmailEnd(state=MessageState.EXPIRED, resends=1), None),
    ],
)
def test_the_usual_ends(end: EmailEnd, cause: str | None) -> None:
    """A recipient's own trouble falls back; our mistakes, wishes and doubts do not."""
    assert falls_back(end, USUAL) == cause


def test_what_cannot_be_known_falls_back_where_it_is_asked_for() -> None:
    """Who would rather write twice than not at all says so."""
    for end in (
        EmailEnd(state=MessageState.UNCERTAIN),
        EmailEnd(state=MessageState.EXPIRED, resends=2),
    ):
        assert falls_back(end, USUAL) is None
        assert falls_back(end, ALL) == end.state


@given(end=ENDS, on=CHOICES)
def test_nothing_falls_back_that_may_have_arrived_or_is_not_wanted(
    end: EmailEnd, on: frozenset[FallbackCause]
) -> None:
    """Whatever is chosen: no copy that may be there, no wish against it, no mistake of ours."""
    cause = falls_back(end, on)

    if cause is None:
        return
    assert cause in on
    assert end.state not in (MessageState.SENT, MessageState.DELIVERED, MessageState.COMPLAINED)
    may_have_arrived = bool(end.resends) or end.state is MessageState.UNCERTAIN
    assert not may_have_arrived or FallbackCause.UNCERTAIN in on
    assert end.state is not MessageState.SUPPRESSED or end.detail == BOUNCED_BEFORE
    assert end.state is not MessageState.FAILED or end.failure_class not in OURS


@given(end=ENDS, on=CHOICES, more=CHOICES)
def test_choosing_more_ends_never_takes_one_away(
    end: EmailEnd, on: frozenset[FallbackCause], more: frozenset[FallbackCause]
) -> None:
    """Each word of ``on`` only adds."""
    cause = falls_back(end, on)

    assert cause is None or falls_back(end, on | more) is cause
