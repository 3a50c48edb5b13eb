"""From ``command_status`` to an outcome (SMPP 3.4 section 5.1.3).

``0x14`` and ``0x58`` are not a judgement on the message: they slow the bind down and use up no
attempt. Documents disagree on the codes for a recipient's TON and NPI: 0x50 and 0x51 here, 0x4A
and 0x4B elsewhere; both are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from ignition_ext.channels.smpp.codec import OK, status_name
from ignition_ext.values import FailureClass, Outcome, OutcomeKind

THROTTLED, QUEUE_FULL = 0x58, 0x14
BIND_FAILED = 0x0D
REFUSES_LOGIN = frozenset({0x0E, 0x0F, 0x53})
"""Password, system id, system type: providers lock accounts that try again."""

NOT_BOUND = frozenset({0x04, 0x05})
REFUSES_PROTOCOL = frozenset({0x02, 0x03})
SLOW_DOWN = frozenset({THROTTLED, QUEUE_FULL})

_THROTTLED_AFTER = timedelta(seconds=30)
_QUEUE_FULL_AFTER = timedelta(minutes=3)
"""Jasmin's and Kannel's usual waits; a full queue may be the recipient's and lasts longer."""

_PERMANENT: Mapping[FailureClass, frozenset[int]] = {
    FailureClass.SENDER: frozenset({0x0A, 0x48, 0x49}),
    FailureClass.ADDRESS: frozenset({0x0B, 0x4A, 0x4B, 0x50, 0x51}),
    FailureClass.CONTENT: frozenset(
        {
            *(0x01, 0x06, 0x07, 0x15, 0x33, 0x34, 0x40, 0x42, 0x43, 0x44, 0x54, 0x55, 0x61, 0x62),
            *(0x63, 0x65, 0x66, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4),
        }
    ),
}
_CLASS_OF = {code: kind for kind, codes in _PERMANENT.items() for code in codes}


_ACCEPTED_CODE = f"0x{OK:08X}"


def accepted(message_id: str) -> Outcome:
    """The outcome that ESME_ROK tells."""
    return Outcome(kind=OutcomeKind.ACCEPTED, code=_ACCEPTED_CODE, provider_id=message_id)


def classify(status: int) -> Outcome:
    """The outcome that a refusal of submit_sm tells; unknown codes are temporary."""
    code, text = f"0x{status:08X}", status_name(status)
    if status in _CLASS_OF:
        return Outcome(
            kind=OutcomeKind.REJECTED, code=code, text=text, failure_class=_CLASS_OF[status]
        )
    uncharged = _UNCHARGED.get(status)
    if uncharged is not None:
        failure_class, wait = uncharged
        return Outcome(
            kind=OutcomeKind.DEFERRED,
            code=code,
            text=text,
            failure_class=failure_class,
            retry_after=wait,
            charges_attempt=False,
        )
    return Outcome(
        kind=OutcomeKind.DEFERRED, code=code, text=text, failure_class=FailureClass.SYSTEM
    )


_UNCHARGED: Mapping[int, tuple[FailureClass, timedelta | None]] = {
    THROTTLED: (FailureClass.THROTTLED, _THROTTLED_AFTER),
    QUEUE_FULL: (FailureClass.THROTTLED, _QUEUE_FULL_AFTER),
    BIND_FAILED: (FailureClass.CONNECTION, None),
    **dict.fromkeys(NOT_BOUND, (FailureClass.CONNECTION, None)),
    **dict.fromkeys(REFUSES_LOGIN, (FailureClass.AUTH, None)),
    **dict.fromkeys(REFUSES_PROTOCOL, (FailureClass.CONFIGURATION, None)),
}
