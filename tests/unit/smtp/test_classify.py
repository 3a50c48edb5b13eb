"""What a reply means for a recipient, and whose fault it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smtp.classify import Stage, classify, queue_id, stops_run
from ignition_ext.channels.smtp.replies import ReplyParser
from ignition_ext.values import FailureClass, Outcome, OutcomeKind

A, D, R = OutcomeKind.ACCEPTED, OutcomeKind.DEFERRED, OutcomeKind.REJECTED
F = FailureClass


def _judge(stage: Stage, line: str) -> Outcome:
    return classify(stage, next(ReplyParser().feed(line.encode() + b"\r\n")))


def _stops(stage: Stage, line: str) -> FailureClass | None:
    return stops_run(stage, next(ReplyParser().feed(line.encode() + b"\r\n")))


@pytest.mark.parametrize(
    ("stage", "line", "kind", "failure"),
    [
        (Stage.CONTENT, "250 2.0.0 Ok: queued as 4F1A2B3C4D", A, None),
        (Stage.RCPT, "421 4.7.0 too many connections", D, F.THROTTLED),
        (Stage.CONTENT, "421 closing", D, F.THROTTLED),
        (Stage.RCPT, "450 4.2.1 mailbox busy", D, F.MAILBOX),
        (Stage.RCPT, "452 4.2.2 over quota", D, F.MAILBOX),
        (Stage.RCPT, "450 4.7.1 greylisted", D, F.POLICY),
        (Stage.RCPT, "450 greylisted, try again later", D, F.POLICY),
        (Stage.RCPT, "451 4.4.3 DNS failure", D, F.CONNECTION),
        (Stage.RCPT, "451 4.3.0 internal error", D, F.SYSTEM),
        (Stage.RCPT, "451 local error", D, F.SYSTEM),
        (Stage.RCPT, "452 4.5.3 too many recipients", D, F.THROTTLED),
        (Stage.CONTENT, "452 4.3.1 insufficient storage", D, F.SYSTEM),
        (Stage.RCPT, "550 5.1.1 no such user", R, F.ADDRESS),
        (Stage.RCPT, "550 5.1.2 bad domain", R, F.ADDRESS),
        (Stage.RCPT, "501 5.1.3 bad syntax", R, F.ADDRESS),
        (Stage.RCPT, "550 5.1.6 moved", R, F.ADDRESS),
        (Stage.RCPT, "556 5.1.10 null MX", R, F.ADDRESS),
        (Stage.RCPT, "550 5.2.1 mailbox disabled", R, F.ADDRESS),
        (Stage.RCPT, "550 No such user here", R, F.ADDRESS),
        (Stage.RCPT, "550 5.1.7 bad sender address", R, F.SENDER),
        (Stage.RCPT, "550 5.1.8 bad sender's domain", R, F.SENDER),
        (Stage.RCPT, "550 5.7.1 relaying denied", R, F.POLICY),
        (Stage.RCPT, "550 blocked by a blocklist", R, F.POLICY),
        (Stage.RCPT, "554 no", R, F.POLICY),
        (Stage.RCPT, "550 5.1.0 address rejected", R, F.MAILBOX),
        (Stage.RCPT, "552 5.2.2 mailbox full", D, F.MAILBOX),
        (Stage.RCPT, "550 5.2.2 mailbox full", D, F.MAILBOX),
        (Stage.RCPT, "552 4.2.2 mailbox full", D, F.MAILBOX),
        (Stage.RCPT, "552 storage exceeded", D, F.MAILBOX),
        (Stage.MAIL, "552 5.3.4 message too big", R, F.CONTENT),
        (Stage.CONTENT, "552 5.2.3 message too big", R, F.CONTENT),
        (Stage.CONTENT, "552 5.7.0 content blocked", R, F.POLICY),
        (Stage.CONTENT, "550 5.6.0 malformed", R, F.CONTENT),
        (Stage.CONTENT, "550 5.7.26 not authenticated", R, F.POLICY),
        (Stage.CONTENT, "554 transaction failed", R, F.CONTENT),
        (Stage.CONTENT, "554 looks like spam", R, F.POLICY),
        (Stage.CONTENT, "550 5.1.1 unknown after all", R, F.ADDRESS),
        (Stage.MAIL, "553 5.6.7 SMTPUTF8 wanted", R, F.ADDRESS),
        (Stage.RCPT, "500 what?", R, F.SYSTEM),
        (Stage.RCPT, "555 parameters", R, F.SYSTEM),
        (Stage.RCPT, "450 4.9.9 odd", D, F.MAILBOX),
    ],
)
def test_reply_means(
    stage: Stage, line: str, kind: OutcomeKind, failure: FailureClass | None
) -> None:
    """The table of RFC 5321 and RFC 3463, with what servers make of it."""
    outcome = _judge(stage, line)

    assert (outcome.kind, outcome.failure_class) == (kind, failure)
    assert outcome.code == line[:3]


def test_only_421_costs_no_attempt() -> None:
    """Come back later is no judgement; every other refusal is."""
    assert not _judge(Stage.RCPT, "421 4.3.2 later").charges_attempt
    assert _judge(Stage.RCPT, "450 4.7.1 later").charges_attempt


@pytest.mark.parametrize(
    ("stage", "line", "failure"),
    [
        (Stage.MAIL, "550 5.7.1 not you", F.CONFIGURATION),
        (Stage.MAIL, "553 5.1.8 unknown sender domain", F.CONFIGURATION),
        (Stage.MAIL, "501 syntax", F.CONFIGURATION),
        (Stage.MAIL, "530 5.7.0 authentication required", F.AUTH),
        (Stage.RCPT, "530 authentication required", F.AUTH),
        (Stage.MAIL, "552 5.3.4 too big", None),
        (Stage.MAIL, "552 too big", None),
        (Stage.MAIL, "553 5.6.7 non-ASCII", None),
        (Stage.MAIL, "451 4.3.0 later", None),
        (Stage.RCPT, "550 5.7.1 not you", None),
        (Stage.CONTENT, "554 5.7.1 not this", None),
    ],
)
def test_refusals_of_us_as_a_whole(stage: Stage, line: str, failure: FailureClass | None) -> None:
    """A sender that the server does not want stops the run; one message does not."""
    assert _stops(stage, line) is failure


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ok: queued as 4F1A2B3C4D", "4F1A2B3C4D"),
        ("OK id=1abcDE-000abc-Xy", "1abcDE-000abc-Xy"),
        ("<x@y> [InternalId=12345, Hostname=h] Queued mail for delivery", "12345"),
        ("8AH7abc123def Message accepted for delivery", "8AH7abc123def"),
        ("OK 1699999999 d2e1a72fcca58-6c4eb.12 - gsmtp", ""),
        ("Ok 0100018bcdef-1234", "0100018bcdef-1234"),
        ("Ok", ""),
        ("", ""),
    ],
)
def test_queue_id_is_found(text: str, found: str) -> None:
    """What Postfix, Exim, Exchange, Sendmail and SES call a message in their logs."""
    assert queue_id(text) == found


@given(
    stage=st.sampled_from(Stage),
    code=st.integers(400, 599),
    enhanced=st.from_regex(r"([45]\.\d{1,3}\.\d{1,3} )?", fullmatch=True),
    text=st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), max_size=30),
)
def test_every_refusal_has_an_outcome(stage: Stage, code: int, enhanced: str, text: str) -> None:
    """No refusal is taken for success, none without a class, and 4xx always may come again."""
    outcome = _judge(stage, f"{code} {enhanced}{text}")

    assert outcome.kind in {OutcomeKind.DEFERRED, OutcomeKind.REJECTED}
    assert outcome.failure_class is not None
    if code < 500:
        assert outcome.kind is OutcomeKind.DEFERRED
