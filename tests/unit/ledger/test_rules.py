"""The rules, for every state, outcome and lease there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.ledger import receipts, rules
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.rows import Held, ReceiptRow
from ignition_ext.ledger.transitions import require_path
from ignition_ext.values import (
    Delivery,
    FailureClass,
    MessageId,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
)

S = MessageState
ATTEMPTS = 3
POLICY = StandardRetry(strategy="fixed", attempts=ATTEMPTS)
ALIVE = {S.PENDING, S.CLAIMED, S.SENDING, S.DEFERRED, S.UNCERTAIN}
OVER = set(S) - ALIVE

outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    code=st.sampled_from(["", "250"]),
    failure_class=st.none() | st.sampled_from(FailureClass),
    retry_after=st.none() | st.just(timedelta(minutes=5)),
    charges_attempt=st.booleans(),
)


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    total = draw(st.integers(1, 4))
    told = draw(st.sets(st.integers(1, total)))
    return Delivery(
        message_id=MessageId(uuid4()),
        outcome=draw(outcomes),
        parts=tuple(PartOutcome(part=n, parts=total, outcome=draw(outcomes)) for n in told),
    )


held_rows = st.builds(
    Held,
    id=st.just(uuid4()),
    run_at=st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    state=st.sampled_from(S),
    seq=st.integers(1, 9),
    attempts=st.integers(0, ATTEMPTS - 1),
    resends=st.integers(0, rules.MAX_RESENDS),
    lease_id=st.none(),
    parts=st.integers(0, 3),
    again=st.booleans(),
    tenant_id=st.just(1),
    run_id=st.none(),
    not_before=st.none(),
    intended_at=st.none(),
)


@given(held=held_rows, delivery=deliveries(), own=st.booleans())
def test_every_result_keeps_to_the_table(held: Held, delivery: Delivery, own: bool) -> None:
    """Legal steps, attempts within the policy, no copy against the guarantee."""
    change = rules.settled(held, delivery, POLICY, own=own)

    if held.state in OVER:
        assert change is None
    if change is None:
        return
    require_path(held.state, change.steps)
    assert held.attempts <= change.attempts <= min(held.attempts + 1, ATTEMPTS)
    path = (held.state, *change.steps)
    if not held.again:
        assert (S.UNCERTAIN, S.PENDING) not in pairwise(path)
    if change.state is S.FAILED:
        assert change.outcome is not None
    kinds = {part.outcome.kind for part in delivery.parts}
    if OutcomeKind.ACCEPTED in kinds and OutcomeKind.UNCERTAIN in kinds:
        assert change.state not in (S.PENDING, S.DEFERRED)


@given(held=held_rows, kind=st.sampled_from(OutcomeKind), state=st.sampled_from(sorted(ALIVE)))
def test_copies_sent_in_ignorance_are_bounded(
    held: Held, kind: OutcomeKind, state: MessageState
) -> None:
    """Neither a lapse nor any result, late ones too, sends more of them than the limit."""
    used_up = replace(held, state=state, again=True, resends=rules.MAX_RESENDS)
    delivery = Delivery(message_id=MessageId(held.id), outcome=Outcome(kind=kind))

    changes = [rules.settled(used_up, delivery, POLICY, own=own) for own in (True, False)]
    if state in (S.CLAIMED, S.SENDING):
        changes.append(rules.lapsed(used_up))

    assert all(change.resends <= rules.MAX_RESENDS for change in changes if change)


@given(held=held_rows, delivery=deliveries())
def test_a_late_acceptance_is_never_lost(held: Held, delivery: Delivery) -> None:
    """Wherever it is not over, accepted means sent, also for strangers."""
    accepted = Delivery(message_id=delivery.message_id, outcome=Outcome(kind=OutcomeKind.ACCEPTED))

    change = rules.settled(held, accepted, POLICY, own=False)

    assert (change is None) == (held.state in OVER)
    assert change is None or change.state is S.SENT


@given(held=held_rows)
def test_a_lapse_keeps_to_the_table(held: Held) -> None:
    """Only claimed and sending lapse; what was on the wire goes through uncertain."""
    if held.state not in (S.CLAIMED, S.SENDING):
        return
    change = rules.lapsed(held)

    require_path(held.state, change.steps)
    assert change.attempts == held.attempts
    assert (S.UNCERTAIN in change.steps) == (held.state is S.SENDING)
    assert change.resends <= rules.MAX_RESENDS


@given(delivery=deliveries())
def test_parts_outweigh_the_transports_word(delivery: Delivery) -> None:
    """Accepted only when all parts are; never to be sent again when one is."""
    total = max((part.parts for part in delivery.parts), default=0)
    kinds = [part.outcome.kind for part in delivery.parts]
    whole = rules.whole_outcome(delivery).kind

    if total == 0:
        assert whole is delivery.outcome.kind
        return
    accepted = kinds.count(OutcomeKind.ACCEPTED)
    assert (whole is OutcomeKind.ACCEPTED) == (accepted == total)
    if OutcomeKind.REJECTED in kinds:
        assert whole is OutcomeKind.REJECTED
    elif 0 < accepted < total:
        assert whole is OutcomeKind.UNCERTAIN


@pytest.mark.parametrize("kind", [OutcomeKind.DEFERRED, OutcomeKind.UNSENT, None])
def test_half_a_text_is_uncertain(kind: OutcomeKind | None) -> None:
    """Failed would be redriven, and the accepted part sent twice; the part's words are kept."""
    kinds = [OutcomeKind.ACCEPTED] + [kind] * (kind is not None)
    delivery = Delivery(
        message_id=MessageId(uuid4()),
        outcome=Outcome(kind=OutcomeKind.UNCERTAIN),
        parts=tuple(
            PartOutcome(part=number, parts=2, outcome=Outcome(kind=one, text="too fast"))
            for number, one in enumerate(kinds, start=1)
        ),
    )
    whole = rules.whole_outcome(delivery)

    assert whole.kind is OutcomeKind.UNCERTAIN
    assert whole.text.startswith("part 2 of 2 (1 accepted): ")
    assert ("too fast" in whole.text) == (kind is not None)


@given(
    held=held_rows,
    parts=st.lists(st.sampled_from([S.SENT, S.DELIVERED, S.FAILED, S.EXPIRED, S.UNCERTAIN])),
)
def test_receipts_keep_to_the_table(held: Held, parts: list[MessageState]) -> None:
    """Delivered by all parts, failed by one, and only from sent or uncertain."""
    receipt = ReceiptRow(
        id=uuid4(),
        bind="b",
        provider_id="1",
        id_format="auto",
        destination="",
        state=S.DELIVERED,
        status="DELIVRD",
        code="",
    )
    change = receipts.message_after(held, parts, receipt, 1)

    if change is None:
        return
    require_path(held.state, change.steps)
    assert held.state in (S.SENT, S.UNCERTAIN)
    if change.state is S.DELIVERED:
        assert parts == [S.DELIVERED] * held.parts
