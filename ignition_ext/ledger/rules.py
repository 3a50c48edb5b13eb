"""What each outcome makes of a message: pure, the whole policy of the ledger in one place.

A result may come from the lease that holds the message (*own*), or late: the lease lapsed, the
message was recovered, perhaps claimed by another sender meanwhile. Late results are evidence:

===========================  ==========  ==========================  ==============  ============
state when it arrives        ACCEPTED    REJECTED                    DEFERRED        UNSENT
===========================  ==========  ==========================  ==============  ============
sending, own                 sent        failed                      deferred [1]_   pending
claimed, own                 sent [2]_   failed                      pending [3]_    pending
uncertain                    sent        failed                      failed [4]_     failed [4]_
pending, deferred            sent [2]_   failed [2]_                 --              --
claimed by another           sent [2]_   failed                      --              --
sending by another           sent        --                          --              --
any other                    --          --                          --              --
===========================  ==========  ==========================  ==============  ============

.. [1] ``failed`` with class ``attempts`` (the server's code is kept) when the policy says no.
.. [2] walks through the states between, so that each event is in the design's list. A message
   that waits to be sent again and was accepted all the same is thus not sent a second time.
.. [3] nothing was written to the wire: it is held for a time, which is no deferral.
.. [4] proved not accepted. Under at-most-once it may not become pending; ``failed`` says the
   truth and can be redriven. Under at-least-once it becomes pending, or stays uncertain after
   ``MAX_RESENDS``: this copy is proved unsent, those before it are not.

UNCERTAIN counts only from the own lease: uncertain, and then pending under at-least-once.
Results for messages that are over change nothing, so settling twice is harmless. Only results
that a server judged charge an attempt, and only once bytes were on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence

from ignition_ext.ledger.contract import RetryPolicy
from ignition_ext.ledger.rows import Change, Held
from ignition_ext.values import (
    Delivery,
    FailureClass,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
)

MAX_RESENDS = 3
"""Copies that at-least-once sends in ignorance: a message that kills its sender each time would
otherwise be sent until the deadline."""
_S = MessageState
_ACCEPTED_PATHS = {
    _S.PENDING: (_S.CLAIMED, _S.SENDING, _S.SENT),
    _S.DEFERRED: (_S.CLAIMED, _S.SENDING, _S.SENT),
    _S.CLAIMED: (_S.SENDING, _S.SENT),
    _S.SENDING: (_S.SENT,),
    _S.UNCERTAIN: (_S.SENT,),
}
_REJECTED_PATHS = {
    _S.PENDING: (_S.CLAIMED, _S.FAILED),
    _S.DEFERRED: (_S.CLAIMED, _S.FAILED),
    _S.CLAIMED: (_S.FAILED,),
    _S.SENDING: (_S.FAILED,),
    _S.UNCERTAIN: (_S.FAILED,),
}
_JUDGED = (OutcomeKind.ACCEPTED, OutcomeKind.DEFERRED, OutcomeKind.REJECTED)


def settled(held: Held, delivery: Delivery, retry: RetryPolicy, *, own: bool) -> Change | None:
    """What a delivery makes of a message; None where it changes nothing."""
    outcome = whole_outcome(delivery)
    steps: tuple[MessageState, ...] | None
    match outcome.kind:
        case OutcomeKind.ACCEPTED:
            steps = _ACCEPTED_PATHS.get(held.state)
        case OutcomeKind.REJECTED:
            # While another copy is on the wire, its own answer decides.
            busy = held.state is _S.SENDING and not own
            steps = None if busy else _REJECTED_PATHS.get(held.state)
        case OutcomeKind.DEFERRED | OutcomeKind.UNSENT:
            return _postponed(held, outcome, retry, own=own, parts=_count(delivery))
        case OutcomeKind.UNCERTAIN:
            return _unknown(held, delivery, outcome, retry, own=own)
    if steps is None:
        return None
    return Change(
        held=held,
        steps=steps,
        attempts=_charged(held, outcome, steps),
        outcome=outcome,
        parts=_count(delivery),
    )


def _postponed(
    held: Held, outcome: Outcome, retry: RetryPolicy, *, own: bool, parts: int
) -> Change | None:
    if held.state is _S.UNCERTAIN:
        if held.again and held.resends >= MAX_RESENDS:
            return None
        state = _S.PENDING if held.again else _S.FAILED
    elif own and held.state is _S.CLAIMED:
        state = _S.PENDING
    elif own and held.state is _S.SENDING:
        state = _S.PENDING if outcome.kind is OutcomeKind.UNSENT else _S.DEFERRED
    else:
        return None
    if state is _S.FAILED and outcome.failure_class is None:
        outcome = outcome._replace(failure_class=FailureClass.CONNECTION)
    attempts = _charged(held, outcome, (state,))
    delay = outcome.retry_after
    if outcome.kind is OutcomeKind.DEFERRED and state is not _S.FAILED:
        decision = retry.decide(outcome, attempts)
        delay = decision.delay
        if delay is None:
            state = _S.FAILED
            outcome = outcome._replace(failure_class=FailureClass.ATTEMPTS)
    return Change(
        held=held, steps=(state,), attempts=attempts, outcome=outcome, delay=delay, parts=parts
    )


def _unknown(
    held: Held, delivery: Delivery, outcome: Outcome, retry: RetryPolicy, *, own: bool
) -> Change | None:
    if not own or held.state not in (_S.CLAIMED, _S.SENDING):
        return None
    steps: tuple[MessageState, ...] = (_S.UNCERTAIN,)
    if held.state is _S.CLAIMED:
        steps = (_S.SENDING, _S.UNCERTAIN)
    delay = None
    # A part that was accepted is never sent again blindly.
    whole = not any(part.outcome.kind is OutcomeKind.ACCEPTED for part in delivery.parts)
    if held.again and whole and held.resends < MAX_RESENDS:
        delay = retry.decide(outcome, held.attempts + 1).delay
        if delay is not None:
            steps = (*steps, _S.PENDING)
    return Change(
        held=held,
        steps=steps,
        attempts=held.attempts,
        outcome=outcome,
        delay=delay,
        parts=_count(delivery),
    )


def lapsed(held: Held) -> Change:
    """What a lease that ended without a word makes of a message."""
    if held.state is _S.CLAIMED:
        return Change(
            held=held, steps=(_S.PENDING,), attempts=held.attempts, note="the lease lapsed"
        )
    outcome = Outcome(
        kind=OutcomeKind.UNCERTAIN, text="the lease lapsed while bytes may have been on the wire"
    )
    again = held.again and held.resends < MAX_RESENDS
    return Change(
        held=held,
        steps=(_S.UNCERTAIN, _S.PENDING) if again else (_S.UNCERTAIN,),
        attempts=held.attempts,
        outcome=outcome,
    )


def _charged(held: Held, outcome: Outcome, steps: Sequence[MessageState]) -> int:
    on_wire = held.state in (_S.SENDING, _S.UNCERTAIN) or _S.SENDING in steps
    charges = on_wire and outcome.charges_attempt and outcome.kind in _JUDGED
    return held.attempts + int(charges)


def _count(delivery: Delivery) -> int:
    return max((part.parts for part in delivery.parts), default=0)


def whole_outcome(delivery: Delivery) -> Outcome:
    """The outcome of a message from those of its parts, which outweigh the transport's own word.

    A part that is not mentioned was not sent. Where some parts were accepted and another was
    refused for now or not sent, sending the message again would send the accepted ones twice:
    ``uncertain`` with that part's words, so that a redrive of what failed leaves it alone. One
    part refused for good makes the message fail, whatever is unknown about the others.
    """
    parts = sorted(delivery.parts, key=lambda part: part.part)
    total = _count(delivery)
    if total == 0:
        return delivery.outcome
    by_kind: dict[OutcomeKind, list[PartOutcome]] = {kind: [] for kind in OutcomeKind}
    for part in parts:
        by_kind[part.outcome.kind].append(part)
    accepted = by_kind[OutcomeKind.ACCEPTED]
    if len(accepted) == total:
        return accepted[0].outcome._replace(kind=OutcomeKind.ACCEPTED)
    for kind in (OutcomeKind.REJECTED, OutcomeKind.UNCERTAIN):
        if by_kind[kind]:
            return _of_part(by_kind[kind][0], kind, len(accepted))
    held_back = by_kind[OutcomeKind.DEFERRED] or by_kind[OutcomeKind.UNSENT]
    if not accepted:
        return _of_part(held_back[0], held_back[0].outcome.kind, 0)
    if not held_back:
        missing = Outcome(kind=OutcomeKind.UNSENT, text="the rest was not sent")
        held_back = [PartOutcome(part=len(accepted) + 1, parts=total, outcome=missing)]
    return _of_part(held_back[0], OutcomeKind.UNCERTAIN, len(accepted))


def _of_part(part: PartOutcome, kind: OutcomeKind, accepted: int) -> Outcome:
    outcome = part.outcome
    failure_class = outcome.failure_class
    if kind is OutcomeKind.REJECTED and failure_class is None:
        failure_class = FailureClass.CONNECTION
    text = outcome.text
    if part.parts > 1:
        text = f"part {part.part} of {part.parts} ({accepted} accepted): {text}"
    return outcome._replace(
        kind=kind,
        text=text,
        failure_class=failure_class,
        charges_attempt=outcome.charges_attempt or accepted > 0,
    )
