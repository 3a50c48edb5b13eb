"""Mails that no server writes: parsing them never raises and never takes long."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.reports import MAX_OCTETS, ReportKind, parse_report
from ignition_ext.channels.reports.fields import MAX_FIELD, MAX_VALUES
from ignition_ext.channels.reports.parse import MAX_SEAMS
from ignition_ext.channels.reports.status import judge

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.eml"))
PIECES = [
    b"Content-Type: multipart/report; boundary=b\r\n",
    b"Content-Type: multipart/mixed; boundary=\r\n",
    b"Content-Type: message/delivery-status\r\n",
    b"Content-Type: message/global-delivery-status\r\n",
    b"Content-Type: message/feedback-report\r\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: text/rfc822-headers; charset=klingon\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: uuencode\r\n",
    b"From: MAILER-DAEMON\r\n",
    b"Subject: =?utf-8?b?////?=\r\n",
    b"Subject: =?x?q?a?= \xff\x00\r\n",
    b'X-Failed-Recipients: a@b, <c@d, "\r\n',
    b"Final-Recipient: rfc822;<jo@example.org\r\n",
    b"Action: failed\r\n",
    b"Status: 5.1.1.1.999999\r\n",
    b"Diagnostic-Code: smtp; 550 5.1.1 \xff <\r\n",
    b"Feedback-Type: abuse\r\n",
    b"Message-ID: <a@b>\r\n",
    b"\r\n",
    b"--b\r\n",
    b"--b--\r\n",
    b"begin 666 x\r\n",
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=40), max_size=40))
def test_any_pieces_of_reports_can_be_read(pieces: list[bytes]) -> None:
    """And what is read can be stored: short, on one line, without NUL or half a character."""
    found = parse_report(b"".join(pieces))

    texts = [found.sender, found.subject, found.envelope_id, found.reporting_mta]
    texts += [*found.returned_to, *found.message_ids]
    for recipient in found.recipients:
        texts += [recipient.address, recipient.original, recipient.action, recipient.status]
        texts += [recipient.code, recipient.diagnostic, recipient.remote_mta]
    assert len(found.recipients) <= MAX_VALUES
    for text in texts:
        assert len(text) <= MAX_FIELD
        assert "\0" not in text
        assert "\n" not in text
        text.encode("utf-8")


@given(st.data())
def test_a_damaged_report_can_be_read(data: st.DataObject) -> None:
    """Cut, or with some octets changed on its way."""
    raw = bytearray(data.draw(st.sampled_from(CORPUS)).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=8)):
        raw[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(raw)))

    assert parse_report(bytes(raw[:end])).kind in ReportKind


@given(st.text(max_size=60), st.text(max_size=200), st.text(max_size=200))
def test_any_words_have_a_class(status: str, diagnostic: str, context: str) -> None:
    """Whose fault it is, is always said; hard is never guessed from a code that is not 5."""
    found = judge(status, diagnostic, context)

    assert not found.is_hard or (found.status or found.code or "5")[0] == "5"


def test_parts_in_parts_in_parts_are_no_trap() -> None:
    """More than Python would follow."""
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
        for n in range(3000)
    )

    assert parse_report(b"From: a@example.org\r\n" + deep).kind is ReportKind.UNKNOWN


def test_parts_without_end_are_no_trap() -> None:
    """Each would cost the parser its time; what stands behind too many of them is not read."""
    parts = b"--b\r\n\r\n" * 3 * MAX_SEAMS
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    late = b"--b\r\nContent-Type: text/plain\r\n\r\nMessage-ID: <one@example.com>\r\n"

    assert parse_report(head + late + parts).message_ids == ("one@example.com",)
    assert parse_report(head + parts + late).message_ids == ()


def test_nothing_is_logged_of_what_strangers_write(caplog: pytest.LogCaptureFixture) -> None:
    """Or anybody could fill the disk."""
    parse_report(b"From: \xff\r\n\r\nhello\r\n")
    parse_report(b"hello\r\n")
    parse_report(b"From: <>\r\nX-Failed-Recipients: \xff@b\r\n\r\n")

    assert caplog.records == []


def test_only_the_beginning_of_a_huge_mail_is_read() -> None:
    """The report stands before the original; what is behind the limit does not exist."""
    head = b"From: a@example.org\r\nSubject: x\r\n\r\n" + b"x" * MAX_OCTETS

    assert parse_report(head + b"\r\nMessage-ID: <one@example.com>\r\n").message_ids == ()
