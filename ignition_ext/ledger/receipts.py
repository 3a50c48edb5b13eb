"""What delivery receipts make of parts and messages: pure.

Receipts come twice, late, out of order, and before the response that names their id. So a final
word about a part is never taken back, an intermediate one changes nothing, and what fits no part
yet is kept until one is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ignition_ext.ledger.provider_ids import is_same_number, match_rank
from ignition_ext.ledger.rows import Change, Held, PartRow, ReceiptRow
from ignition_ext.values import FailureClass, MessageState, Outcome, OutcomeKind

_S = MessageState
_REFUSED_STATUS = frozenset({"REJECTD", "DELETED"})
"""SMPP 3.4 Appendix B: refused by a rule of the SMSC or removed; not the handset's doing."""


def best_part(receipt: ReceiptRow, parts: Iterable[PartRow]) -> PartRow | None:
    """The part that a receipt speaks of; ``parts`` come newest first (SMSCs use ids again).

    The bind must be the same. Under ``auto`` the number must be too: a guessed spelling may
    name another person's message.
    """
    best: tuple[int, PartRow] | None = None
    for part in parts:
        if part.bind != receipt.bind:
            continue
        rank = match_rank(part.provider_id, receipt.provider_id, receipt.id_format)
        if rank is None or (best is not None and best[0] <= rank):
            continue
        is_guess = receipt.id_format not in ("same", "hex_to_dec", "dec_to_hex")
        if is_guess and not is_same_number(part.address, receipt.destination):
            continue
        best = (rank, part)
    return best[1] if best else None


def part_after(current: MessageState, told: MessageState | None) -> MessageState | None:
    """The new state of a part, None where the receipt changes nothing."""
    is_open = current in (_S.SENT, _S.UNCERTAIN)
    return told if is_open and told in (_S.DELIVERED, _S.FAILED, _S.EXPIRED) else None


def message_after(
    held: Held, parts: Sequence[MessageState], receipt: ReceiptRow, part: int
) -> Change | None:
    """What its parts make of a message: delivered by all of them, failed or expired by one."""
    state = _state_after(held, parts)
    if state is None:
        return None
    kind = OutcomeKind.REJECTED if state in (_S.FAILED, _S.EXPIRED) else OutcomeKind.ACCEPTED
    words = f"receipt {receipt.status}".strip()
    if held.parts > 1:
        words = f"{words}, part {part} of {held.parts}; {_counted(parts, held.parts)}"
    failure_class = None
    if kind is OutcomeKind.REJECTED:
        refused = receipt.status.upper() in _REFUSED_STATUS
        failure_class = FailureClass.POLICY if refused else FailureClass.MAILBOX
    return Change(
        held=held,
        steps=(state,),
        attempts=held.attempts + int(held.state is _S.UNCERTAIN),
        outcome=Outcome(kind=kind, code=receipt.code, text=words, failure_class=failure_class),
    )


def _counted(parts: Sequence[MessageState], total: int) -> str:
    """How many parts did what: ``2 delivered, 1 failed``; those never stored were not sent."""
    counts = Counter(state.value for state in parts)
    counts["not sent"] = max(total - len(parts), 0)
    order = ["delivered", "failed", "expired", "uncertain", "sent", "not sent"]
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name])


def _state_after(held: Held, parts: Sequence[MessageState]) -> MessageState | None:
    if held.state not in (_S.SENT, _S.UNCERTAIN):
        return None
    if _S.FAILED in parts:
        return _S.FAILED
    if _S.EXPIRED in parts:
        # The design's list knows no uncertain -> expired; undelivered for good is failed.
        return _S.EXPIRED if held.state is _S.SENT else _S.FAILED
    if parts and len(parts) == held.parts and set(parts) == {_S.DELIVERED}:
        return _S.DELIVERED
    return None
