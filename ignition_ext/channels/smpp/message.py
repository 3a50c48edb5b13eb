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
from dataclasses import dataclass

from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind, PartOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsEnvelope:
    """An SMS to send: ``source`` and ``destination`` as people write them, ``text`` rendered.

    Without ``wants_receipt`` the SMSC is not asked for any.
    """

    message_id: MessageId
    source: str
    destination: str
    text: str
    wants_receipt: bool = True


class Part:
    """One submit_sm, ready but for its header.

    Attributes:
        index: its place in the message, from 0.
        body: what follows the header.
        tries: refusals for now.
        throttled_at: when the first of them came.
        deadline: when it counts as unanswered, once it is written.
    """

    __slots__ = ("body", "deadline", "index", "message", "throttled_at", "tries")

    def __init__(self, message: SmsInFlight, index: int, body: bytes) -> None:
        self.message, self.index, self.body = message, index, body
        self.tries = 0
        self.throttled_at: float | None = None
        self.deadline = 0.0


class SmsInFlight:
    """A message from the moment it is segmented until its outcome is handed over.

    Attributes:
        refusal: why the message cannot be sent at all; it has no parts then.
        order: counts the messages; what is tried again goes by it.
        handed: how many parts the SMSC may have: written, and neither refused nor proved unsent.
        accepted: whether a part was accepted: the message cannot be sent afresh.
        refused: whether a part was refused for good: the rest need not be paid for.
    """

    __slots__ = (
        "_bodies",
        "_missing",
        "_outcomes",
        "accepted",
        "handed",
        "message_id",
        "order",
        "refusal",
        "refused",
    )

    def __init__(
        self, message_id: MessageId, content: Sequence[bytes] | Outcome, order: int = 0
    ) -> None:
        self.message_id, self.order = message_id, order
        self.refusal = content if isinstance(content, Outcome) else None
        bodies = () if isinstance(content, Outcome) else content
        self._bodies = bodies
        self._outcomes: list[Outcome | None] = [None] * len(bodies)
        self._missing = len(bodies)
        self.handed = 0
        self.accepted = self.refused = False

    def parts(self) -> list[Part]:
        """Its parts, made anew; the message knows none, so that no cycle outlives them."""
        return [Part(self, index, body) for index, body in enumerate(self._bodies)]

    def record(self, part: Part, outcome: Outcome) -> None:
        """Note what came of a part, once for each."""
        self._outcomes[part.index] = outcome
        self._missing -= 1
        if outcome.kind is OutcomeKind.ACCEPTED:
            self.accepted = True
        elif outcome.kind is OutcomeKind.REJECTED:
            self.refused = True

    @property
    def complete(self) -> bool:
        """Whether each part has its outcome."""
        return not self._missing

    @property
    def is_spoiled(self) -> bool:
        """Whether the parts that were not written need not go: alone they would be half a text.

        One was refused for good, or one was given up and the SMSC has none.
        """
        return self.refused or (not self.handed and self._missing < len(self._outcomes))

    def delivery(self) -> Delivery:
        """What to settle; the message is complete."""
        if self.refusal is not None:
            return Delivery(message_id=self.message_id, outcome=self.refusal)
        outcomes = [outcome for outcome in self._outcomes if outcome is not None]
        return Delivery(
            message_id=self.message_id,
            outcome=whole(outcomes),
            parts=tuple(
                [
                    PartOutcome(part=number, parts=len(outcomes), outcome=outcome)
                    for number, outcome in enumerate(outcomes, start=1)
                ]
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
            return first._replace(text=f"{said}. {_place(outcomes, first)}: {first.text}")
    first = (by_kind[OutcomeKind.DEFERRED] or by_kind[OutcomeKind.UNSENT])[0]
    if not accepted:
        return first
    return first._replace(
        kind=OutcomeKind.UNCERTAIN,
        retry_after=None,
        text=f"{said}, and sending again would repeat them. "
        f"{_place(outcomes, first)}: {first.text}",
    )


def _place(outcomes: Sequence[Outcome], one: Outcome) -> str:
    return f"Part {next(i for i, o in enumerate(outcomes, start=1) if o is one)}"
