"""One SMS on its way: its parts, what came of each, and what that means for the whole.

========================================  =====================================================
parts                                     message
========================================  =====================================================
all accepted                              accepted
one refused for good                      rejected; the parts that were not written yet stay so
one unanswered                            uncertain
some accepted, others refused for now     uncertain: sending again would repeat what arrived
none accepted, some refused for now       deferred
none written                              unsent
========================================  =====================================================

So nothing that an SMSC may have taken is sent again without the operator having said so
(guarantee ``at-least-once``, or redrive).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ignition_ext.channels.smpp.codec import Submit
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind, PartOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsEnvelope:
    """An SMS to send: ``source`` and ``destination`` as people write them, ``text`` rendered."""

    message_id: MessageId
    source: str
    destination: str
    text: str


class Part:
    """One submit_sm; ``tries`` counts refusals for now, ``throttled_at`` is the first of them."""

    __slots__ = ("index", "message", "order", "submit", "throttled_at", "tries")

    def __init__(self, message: SmsInFlight, index: int, submit: Submit, order: int) -> None:
        self.message, self.index, self.submit, self.order = message, index, submit, order
        self.tries = 0
        self.throttled_at: float | None = None


class SmsInFlight:
    """A message that was intended and is not settled yet."""

    __slots__ = ("message_id", "outcomes", "parts", "started")

    def __init__(self, message_id: MessageId, submits: Sequence[Submit], order: int) -> None:
        self.message_id = message_id
        self.parts = [Part(self, index, submit, order) for index, submit in enumerate(submits)]
        self.outcomes: list[Outcome | None] = [None] * len(submits)
        self.started = False

    def record(self, part: Part, outcome: Outcome) -> None:
        """Note what came of a part."""
        self.outcomes[part.index] = outcome

    @property
    def refused(self) -> bool:
        """Whether a part was refused for good: the rest need not be paid for."""
        return any(
            outcome is not None and outcome.kind is OutcomeKind.REJECTED
            for outcome in self.outcomes
        )

    @property
    def accepted(self) -> bool:
        """Whether a part was accepted already: the message cannot be sent afresh."""
        return any(
            outcome is not None and outcome.kind is OutcomeKind.ACCEPTED
            for outcome in self.outcomes
        )

    @property
    def complete(self) -> bool:
        """Whether each part has its outcome."""
        return None not in self.outcomes

    def delivery(self) -> Delivery:
        """What to settle; the message is complete."""
        outcomes = [outcome for outcome in self.outcomes if outcome is not None]
        return Delivery(
            message_id=self.message_id,
            outcome=whole(outcomes),
            parts=tuple(
                PartOutcome(part=number, parts=len(outcomes), outcome=outcome)
                for number, outcome in enumerate(outcomes, start=1)
            ),
        )


def whole(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of a message from those of its parts."""
    if len(outcomes) == 1:
        return outcomes[0]
    by_kind = {kind: [o for o in outcomes if o.kind is kind] for kind in OutcomeKind}
    accepted, total = len(by_kind[OutcomeKind.ACCEPTED]), len(outcomes)
    if accepted == total:
        return outcomes[0]
    said = f"{accepted} of {total} parts were accepted"
    for kind in (OutcomeKind.REJECTED, OutcomeKind.UNCERTAIN):
        if by_kind[kind]:
            first = by_kind[kind][0]
            return replace(first, text=f"{said}. {_place(outcomes, first)}: {first.text}")
    first = (by_kind[OutcomeKind.DEFERRED] or by_kind[OutcomeKind.UNSENT])[0]
    if not accepted:
        return first
    return replace(
        first,
        kind=OutcomeKind.UNCERTAIN,
        retry_after=None,
        text=f"{said}, and sending again would repeat them. "
        f"{_place(outcomes, first)}: {first.text}",
    )


def _place(outcomes: Sequence[Outcome], one: Outcome) -> str:
    return f"Part {next(i for i, o in enumerate(outcomes, start=1) if o is one)}"
