"""What each sort of mail that comes back is taken for, beyond what the corpus holds."""

from __future__ import annotations

import pytest

from ignition_ext.channels.reports import MailReport, ReportKind, parse_report
from ignition_ext.values import FailureClass

HEAD = "From: {sender}\r\nTo: bounces@mail.example.com\r\nSubject: {subject}\r\n"
DAEMON = "MAILER-DAEMON@mx.example.net"


def letter(body: str, *fields: str, sender: str = DAEMON, subject: str = "failure") -> MailReport:
    lines = [HEAD.format(sender=sender, subject=subject), *(f"{line}\r\n" for line in fields)]
    return parse_report(f"{''.join(lines)}\r\n{body}".encode())


def report(parts: list[tuple[str, str]], kind: str = "delivery-status") -> MailReport:
    head = HEAD.format(sender=DAEMON, subject="report")
    body = "".join(f"--b\r\nContent-Type: {name}\r\n\r\n{text}\r\n" for name, text in parts)
    whole = (
        f"{head}MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type={kind};"
        f' boundary="b"\r\n\r\n{body}--b--\r\n'
    )
    return parse_report(whole.encode())


def status(*blocks: str) -> MailReport:
    text = "\r\n\r\n".join(("Reporting-MTA: dns; mx.example.net", *blocks))
    return report([("text/plain", "Sorry."), ("message/delivery-status", f"{text}\r\n")])


def block(action: str, code: str, reason: str = "", to: str = "jo@example.org") -> str:
    diagnostic = f"\r\nDiagnostic-Code: smtp; {reason}" if reason else ""
    return f"Final-Recipient: rfc822; {to}\r\nAction: {action}\r\nStatus: {code}{diagnostic}"


@pytest.mark.parametrize(
    ("code", "reason", "failure", "hard"),
    [
        ("5.1.1", "550 5.1.1 no such user", "address", True),
        ("5.1.2", "", "address", True),
        ("5.1.3", "501 5.1.3 bad syntax", "address", True),
        ("5.1.6", "550 5.1.6 moved away", "address", True),
        ("5.1.10", "556 5.1.10 null MX", "address", True),
        ("5.2.1", "550 5.2.1 mailbox disabled", "address", True),
        ("5.0.0", "550 5.1.1 no such user", "address", True),
        ("5.0.0", "550 No such user here", "address", True),
        ("5.1.1", "450 4.1.1 not now", "address", True),
        ("4.1.1", "450 4.1.1 unverified address", "address", False),
        ("5.6.7", "553 5.6.7 needs SMTPUTF8", "address", False),
        ("5.1.0", "550 5.1.0 address rejected", "mailbox", False),
        ("5.1.7", "553 5.1.7 bad sender", "sender", False),
        ("5.1.8", "501 5.1.8 sender's domain is unknown", "sender", False),
        ("5.2.2", "552 5.2.2 mailbox full", "mailbox", False),
        ("5.0.0", "552 over quota", "mailbox", False),
        ("5.2.3", "552 5.2.3 too large", "content", False),
        ("5.7.1", "550 5.7.1 blocked", "policy", False),
        ("5.7.26", "550 5.7.26 unauthenticated mail: user unknown", "policy", False),
        ("5.0.0", "550 Sender address rejected: user unknown", "content", False),
        ("5.0.0", "554 rejected due to spam content", "policy", False),
        ("4.4.1", "connection timed out", "connection", False),
        ("5.4.7", "delivery time expired", "connection", False),
        ("5.6.0", "550 5.6.0 not this attachment", "content", False),
        ("5.3.0", "554 5.3.0 disk broken", "system", False),
        ("", "", "content", False),
    ],
)
def test_a_failure_has_its_class(code: str, reason: str, failure: str, hard: bool) -> None:
    """Hard is only what says for good that the address does not exist."""
    found = status(block("failed", code, reason))

    assert found.kind is ReportKind.BOUNCE
    assert found.decisive.failure_class is FailureClass(failure)
    assert found.decisive.is_hard is hard


@pytest.mark.parametrize(
    ("actions", "kind"),
    [
        (("failed",), ReportKind.BOUNCE),
        (("error",), ReportKind.BOUNCE),
        (("delivered", "failed", "delayed"), ReportKind.BOUNCE),
        (("delivered", "delayed"), ReportKind.DELAYED),
        (("relayed",), ReportKind.DELIVERED),
        (("Failed (final)",), ReportKind.BOUNCE),
        (("thrown",), ReportKind.UNKNOWN),
        ((), ReportKind.UNKNOWN),
    ],
    ids=str,
)
def test_the_worst_action_is_the_kind(actions: tuple[str, ...], kind: ReportKind) -> None:
    """And the recipient whose it is decides."""
    found = status(
        *(block(action, "5.1.1", to=f"{n}@example.org") for n, action in enumerate(actions))
    )

    assert found.kind is kind
    assert len(found.recipients) == len(actions)


def test_all_fields_are_read() -> None:
    """Also where the server returns the whole message."""
    found = report(
        [
            ("text/plain", "Sorry."),
            (
                "message/delivery-status",
                "Reporting-MTA: dns; mx.example.net\r\nOriginal-Envelope-Id: QQ7\r\n\r\n"
                "Original-Recipient: rfc822;jo@example.org\r\n"
                "Final-Recipient: RFC822; <jo@example.net>\r\nAction: failed\r\nStatus: 5.1.1\r\n"
                "Remote-MTA: dns; in.example.net\r\n"
                "Diagnostic-Code: smtp; 550-5.1.1 no such\r\n 550 5.1.1 user\r\n",
            ),
            (
                "message/rfc822",
                "Return-Path: <bounces+abc@mail.example.com>\r\n"
                "Message-ID: <one@example.com>\r\nSubject: hello\r\n\r\nhi\r\n",
            ),
        ]
    )

    assert (found.envelope_id, found.reporting_mta) == ("QQ7", "mx.example.net")
    assert found.message_ids == ("one@example.com",)
    assert "bounces+abc@mail.example.com" in found.returned_to
    recipient = found.decisive
    assert (recipient.original, recipient.address) == ("jo@example.org", "jo@example.net")
    assert (recipient.code, recipient.status) == ("550", "5.1.1")
    assert recipient.remote_mta == "in.example.net"
    assert recipient.diagnostic == "550-5.1.1 no such 550 5.1.1 user"


def test_internationalised_reports_are_read() -> None:
    """RFC 6533: the part has another name, and Python's parser takes it for a mail."""
    found = report(
        [
            ("text/plain; charset=utf-8", "Sorry."),
            (
                "message/global-delivery-status",
                "Reporting-MTA: dns; mx.example.net\r\n\r\n"
                "Final-Recipient: utf-8; jürgen@example.org\r\nAction: failed\r\n"
                "Status: 5.1.1\r\n",
            ),
        ]
    )

    assert found.kind is ReportKind.BOUNCE
    assert found.decisive.address == "jürgen@example.org"


@pytest.mark.parametrize(
    ("feedback", "kind"),
    [
        ("abuse", ReportKind.COMPLAINT),
        ("Fraud", ReportKind.COMPLAINT),
        ("opt-out", ReportKind.COMPLAINT),
        ("not-spam", ReportKind.UNKNOWN),
        ("auth-failure", ReportKind.UNKNOWN),
    ],
)
def test_complaints_are_what_recipients_complain_of(feedback: str, kind: ReportKind) -> None:
    """A DMARC report is a server's, not a person's."""
    found = report(
        [
            ("text/plain", "An abuse report."),
            (
                "message/feedback-report",
                f"Feedback-Type: {feedback}\r\nVersion: 1\r\nUser-Agent: X/1\r\n"
                "Original-Mail-From: <bounces+abc@mail.example.com>\r\n"
                "Original-Rcpt-To: <jo@example.org>\r\n",
            ),
            ("message/rfc822", "Message-ID: <one@example.com>\r\nTo: kim@example.org\r\n\r\nhi"),
        ],
        "feedback-report",
    )

    assert (found.kind, found.feedback_type) == (kind, feedback.lower())
    assert found.returned_to[0] == "bounces+abc@mail.example.com"
    assert found.recipients[0].address == "jo@example.org"
    assert found.message_ids == ("one@example.com",)


@pytest.mark.parametrize(
    ("fields", "subject", "kind"),
    [
        (("Auto-Submitted: auto-replied",), "Re: hello", ReportKind.AUTO_REPLY),
        (("Auto-Submitted: auto-replied (vacation)",), "hi", ReportKind.AUTO_REPLY),
        (("X-Autoreply: yes",), "hi", ReportKind.AUTO_REPLY),
        (("Precedence: auto_reply",), "hi", ReportKind.AUTO_REPLY),
        ((), "Out of Office: hello", ReportKind.AUTO_REPLY),
        ((), "Automatische Antwort: hello", ReportKind.AUTO_REPLY),
        ((), "=?utf-8?q?R=C3=A9ponse_automatique?= : hello", ReportKind.AUTO_REPLY),
        (("X-TMDA-Confirm: abc",), "hi", ReportKind.CHALLENGE),
        ((), "Please confirm your message", ReportKind.CHALLENGE),
        (("Auto-Submitted: no",), "Re: hello", ReportKind.UNKNOWN),
        ((), "Re: hello", ReportKind.UNKNOWN),
    ],
)
def test_replies_are_no_bounces(fields: tuple[str, ...], subject: str, kind: ReportKind) -> None:
    """Whatever a person's program writes about users that are not there."""
    body = "I am away. 550 5.1.1 <jo@example.org>: no such user.\r\n"

    assert letter(body, *fields, sender="jo@example.org", subject=subject).kind is kind


def test_a_receipt_of_reading_is_no_bounce() -> None:
    """RFC 8098."""
    found = report(
        [
            ("text/plain", "It was read."),
            ("message/disposition-notification", "Final-Recipient: rfc822; jo@example.org\r\n"),
        ],
        "disposition-notification",
    )

    assert found.kind is ReportKind.AUTO_REPLY


def test_words_alone_are_understood() -> None:
    """qmail's form, which has neither codes of its own nor parts."""
    found = letter(
        "Hi. This is the qmail-send program at mx.example.net.\r\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\r\n"
        "This is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
        "<jo@example.org>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n"
        "--- Below this line is a copy of the message.\r\n\r\n"
        "Return-Path: <bounces+abc@mail.example.com>\r\nMessage-ID: <one@example.com>\r\n"
    )

    assert found.kind is ReportKind.BOUNCE
    assert found.decisive.address == "jo@example.org"
    assert found.decisive.failure_class is FailureClass.ADDRESS
    assert found.decisive.is_hard
    assert found.message_ids == ("one@example.com",)


def test_a_report_inside_what_came_back_is_somebody_elses() -> None:
    """A person forwards a bounce of theirs to us."""
    inner = (
        'Content-Type: multipart/report; boundary="c"\r\n\r\n--c\r\n'
        f"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n"
        f"{block('failed', '5.1.1')}\r\n\r\n--c--\r\n"
    )
    found = report([("text/plain", "See below."), ("message/rfc822", inner)], "x")

    assert found.kind is not ReportKind.BOUNCE
