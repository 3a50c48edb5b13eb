"""Each command_status has its class; throttling is nobody's fault."""

from __future__ import annotations

import pytest
from smpplib import consts

from ignition_ext.channels.smpp.classify import accepted, classify
from ignition_ext.values import FailureClass, OutcomeKind

DEFERRED, REJECTED = OutcomeKind.DEFERRED, OutcomeKind.REJECTED


@pytest.mark.parametrize(
    ("status", "kind", "failure_class", "charges"),
    [
        (0x58, DEFERRED, FailureClass.THROTTLED, False),
        (0x14, DEFERRED, FailureClass.THROTTLED, False),
        (0x08, DEFERRED, FailureClass.SYSTEM, True),
        (0x64, DEFERRED, FailureClass.SYSTEM, True),
        (0xFE, DEFERRED, FailureClass.SYSTEM, True),
        (0xFF, DEFERRED, FailureClass.SYSTEM, True),
        (0x45, DEFERRED, FailureClass.SYSTEM, True),
        (0x400, DEFERRED, FailureClass.SYSTEM, True),
        (0x04, DEFERRED, FailureClass.CONNECTION, False),
        (0x05, DEFERRED, FailureClass.CONNECTION, False),
        (0x0D, DEFERRED, FailureClass.CONNECTION, False),
        (0x0E, DEFERRED, FailureClass.AUTH, False),
        (0x0F, DEFERRED, FailureClass.AUTH, False),
        (0x53, DEFERRED, FailureClass.AUTH, False),
        (0x02, DEFERRED, FailureClass.CONFIGURATION, False),
        (0x03, DEFERRED, FailureClass.CONFIGURATION, False),
        (0x0A, REJECTED, FailureClass.SENDER, True),
        (0x48, REJECTED, FailureClass.SENDER, True),
        (0x49, REJECTED, FailureClass.SENDER, True),
        (0x0B, REJECTED, FailureClass.ADDRESS, True),
        (0x4A, REJECTED, FailureClass.ADDRESS, True),
        (0x4B, REJECTED, FailureClass.ADDRESS, True),
        (0x50, REJECTED, FailureClass.ADDRESS, True),
        (0x51, REJECTED, FailureClass.ADDRESS, True),
        *(
            (code, REJECTED, FailureClass.CONTENT, True)
            for code in (
                *(0x01, 0x06, 0x07, 0x15, 0x33, 0x34, 0x40, 0x42, 0x43, 0x44, 0x54, 0x55, 0x61),
                *(0x62, 0x63, 0x65, 0x66, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4),
            )
        ),
    ],
)
def test_statuses(
    status: int, kind: OutcomeKind, failure_class: FailureClass, charges: bool
) -> None:
    """The table of the reference, code by code."""
    outcome = classify(status)

    assert (outcome.kind, outcome.failure_class) == (kind, failure_class)
    assert outcome.charges_attempt is charges
    assert outcome.code == f"0x{status:08X}"
    assert outcome.text


def test_acceptance_keeps_the_id() -> None:
    """Verbatim: the receipt will have to be matched with it."""
    outcome = accepted("00aB-7")

    assert (outcome.kind, outcome.provider_id) == (OutcomeKind.ACCEPTED, "00aB-7")
    assert outcome.failure_class is None


def test_no_known_status_is_forgotten() -> None:
    """Each status that smpplib names is classified without an exception, none as accepted."""
    for status in set(consts.DESCRIPTIONS) - {0}:
        assert classify(status).kind in {DEFERRED, REJECTED}


def test_throttled_messages_say_when_to_come_back() -> None:
    """A full queue lasts longer than a speed limit."""
    throttled, full = classify(0x58).retry_after, classify(0x14).retry_after

    assert throttled is not None
    assert full is not None
    assert throttled < full
