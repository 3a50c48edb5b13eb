"""The usual results as columns: what a server took as a whole, without a value for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ignition_ext.ledger.provider_ids import id_key
from ignition_ext.ledger.rows import (
    CODE_LENGTH,
    DETAIL_LENGTH,
    ENHANCED_LENGTH,
    ID_LENGTH,
    clean,
)
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind

_ACCEPTED = OutcomeKind.ACCEPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedParts:
    """Segments that an SMSC took, as columns of one length."""

    message_ids: Sequence[MessageId]
    numbers: Sequence[int]
    totals: Sequence[int]
    provider_ids: Sequence[str]
    provider_keys: Sequence[str]
    codes: Sequence[str]
    details: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Messages that a server took, as columns of one length, in the order of their ids.

    Attributes:
        counts: segments of each, empty for email.
        parts: what the SMSC said to each segment.
    """

    ids: Sequence[MessageId] = ()
    codes: Sequence[str] = ()
    enhanced: Sequence[str] = ()
    details: Sequence[str] = ()
    provider_ids: Sequence[str] = ()
    counts: Sequence[int] = ()
    parts: AcceptedParts | None = None


def alike(values: Sequence[str]) -> str | None:
    """The value that all are; None where two differ. No value at all is the empty text."""
    first = values[0] if values else ""
    return first if values.count(first) == len(values) else None


def split(deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """The deliveries that were accepted as a whole, and those that the rules must look at.

    Raises:
        ValueError: a message stands in them twice.
    """
    if len({delivery.message_id.int for delivery in deliveries}) != len(deliveries):
        raise ValueError("a message stands twice in one settle")
    usual: list[Delivery] = []
    others: list[Delivery] = []
    for delivery in deliveries:
        (usual if _is_usual(delivery) else others).append(delivery)
    return usual, others


def _is_usual(delivery: Delivery) -> bool:
    outcome, parts = delivery.outcome, delivery.parts
    if not parts:
        return outcome.kind is _ACCEPTED and outcome.charges_attempt
    total = len(parts)
    for number, part in enumerate(parts, 1):
        outcome = part.outcome
        if part.part != number or part.parts != total or outcome.kind is not _ACCEPTED:
            return False
    return parts[0].outcome.charges_attempt


def columns(deliveries: Sequence[Delivery]) -> Accepted:
    """The columns of deliveries that :func:`split` called usual."""
    ordered = sorted(deliveries, key=_key)
    # The first segment speaks for the message.
    outcomes = [one.parts[0].outcome if one.parts else one.outcome for one in ordered]
    with_parts = any(one.parts for one in ordered)
    return Accepted(
        ids=[one.message_id for one in ordered],
        codes=cleaned([outcome.code for outcome in outcomes], CODE_LENGTH),
        enhanced=cleaned([outcome.enhanced for outcome in outcomes], ENHANCED_LENGTH),
        details=cleaned([outcome.text for outcome in outcomes], DETAIL_LENGTH),
        provider_ids=cleaned([outcome.provider_id for outcome in outcomes], ID_LENGTH),
        counts=[len(one.parts) for one in ordered] if with_parts else (),
        parts=_parts(ordered) if with_parts else None,
    )


def _key(delivery: Delivery) -> int:
    return delivery.message_id.int


def _parts(deliveries: Sequence[Delivery]) -> AcceptedParts:
    pairs = [(one.message_id, part) for one in deliveries for part in one.parts]
    outcomes: list[Outcome] = [part.outcome for _, part in pairs]
    provider_ids = cleaned([outcome.provider_id for outcome in outcomes], ID_LENGTH)
    return AcceptedParts(
        message_ids=[key for key, _ in pairs],
        numbers=[part.part for _, part in pairs],
        totals=[part.parts for _, part in pairs],
        provider_ids=provider_ids,
        provider_keys=[id_key(name)[:ID_LENGTH] if name else "" for name in provider_ids],
        codes=cleaned([outcome.code for outcome in outcomes], CODE_LENGTH),
        details=cleaned([outcome.text for outcome in outcomes], DETAIL_LENGTH),
    )


def cleaned(values: Sequence[str], length: int) -> Sequence[str]:
    """Each value as :func:`clean` makes it; a server's usual words are looked at all at once."""
    together = "".join(values)
    if together.isascii() and "\0" not in together and max(map(len, values), default=0) <= length:
        return values
    return [clean(value, length) for value in values]
