"""From the bytes of a mail that came back to what it says; never raises, whatever the bytes."""

from __future__ import annotations

import re
from dataclasses import replace
from email.errors import MessageError
from email.message import Message
from email.parser import BytesParser, HeaderParser
from email.policy import compat32
from itertools import islice

from ignition_ext.channels.reports import complaint, delivery, freeform
from ignition_ext.channels.reports.automatic import automatic_kind, is_from_daemon
from ignition_ext.channels.reports.fields import MAX_VALUES, addresses, all_fields, field, words
from ignition_ext.channels.reports.leaving import (
    asks_to_leave,
    is_as_we_wrote_it,
    leaving_tokens,
)
from ignition_ext.channels.reports.report import MailReport, ReportKind

MAX_OCTETS = 256 * 1024
"""Of one mail. What a report says comes before the original that it returns, which may have any
size and is of no use beyond its header."""
MAX_SEAMS = 500
"""Lines that may begin a part: a report has a handful, and each costs a tenth of a millisecond."""
_ORIGINAL_TYPES = (
    "message/rfc822",
    "text/rfc822-headers",
    "message/rfc822-headers",
    "message/global",
    "message/global-headers",
)
_RETURN_FIELDS = (
    "X-Original-To",
    "Delivered-To",
    "Envelope-To",
    "X-Envelope-To",
    "X-Delivered-To",
    "X-RCPT-To",
    "To",
)
"""Where servers write the address that a mail was sent to; the likeliest first."""
_MESSAGE_ID = re.compile(
    r"^[> ]*message-id:\s{0,9}<([!-;=?-~]{3,300})>", re.IGNORECASE | re.MULTILINE
)
"""Printable ASCII, as ours are: a stranger's mail can hold what no database takes."""
_FAILURES = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What Python's parser and its accessors raise for mails that no server writes."""


def parse_report(raw: bytes) -> MailReport:
    """What a mail that came back says.

    Args:
        raw: the mail as it came, header and body; looked at up to :data:`MAX_OCTETS`.
    """
    try:
        raw = _beginning(raw)
        return _parsed(BytesParser(policy=compat32).parsebytes(raw), raw)
    except _FAILURES:
        return MailReport(kind=ReportKind.UNKNOWN)


def _beginning(raw: bytes) -> bytes:
    """What is looked at of a mail."""
    pieces = raw[:MAX_OCTETS].split(b"\n--", MAX_SEAMS)
    return b"\n--".join(pieces[:MAX_SEAMS])


def _parsed(message: Message, raw: bytes) -> MailReport:
    parts = list(islice(message.walk(), MAX_VALUES))
    original = _original(parts)
    body = _text(parts)
    report = MailReport(
        kind=ReportKind.UNKNOWN,
        returned_to=_returned_to(message, original),
        message_ids=_message_ids(original, body),
        sender=next(iter(addresses(message, "From")), ""),
        subject=words(message, "Subject"),
    )
    for part in parts:
        kind = part.get_content_type()
        if kind in _ORIGINAL_TYPES:
            break  # a report within what came back is somebody else's
        if kind in delivery.STATUS_TYPES:
            return _delivery(report, part, body)
        if kind == complaint.FEEDBACK_TYPE:
            return _complaint(report, part, original)
        if kind == "message/disposition-notification":
            # RFC 8098: somebody's program says that it was read, or deleted unread.
            return replace(report, kind=ReportKind.AUTO_REPLY)
    tokens = leaving_tokens(message)
    # The program that writes for a person who asked may say so; the answer of a machine is none.
    is_asked = bool(tokens) and is_as_we_wrote_it(message)
    automatic = automatic_kind(message, may_be_generated=is_asked)
    if automatic is not None:
        return replace(report, kind=automatic)
    if (tokens or asks_to_leave(message)) and not is_from_daemon(message):
        return replace(report, kind=ReportKind.UNSUBSCRIBE, tokens=tokens)
    if any(part.get_content_type() in delivery.STATUS_TYPES for part in parts):
        return report
    return _freeform(report, raw, body)


def _delivery(report: MailReport, part: Message, body: str) -> MailReport:
    blocks = delivery.status_blocks(part)
    found = delivery.recipients(blocks, body)
    first = blocks[0] if blocks else Message()
    return replace(
        report,
        kind=delivery.kind_of(found),
        recipients=tuple(found),
        envelope_id=field(first, "Original-Envelope-Id"),
        reporting_mta=field(first, "Reporting-MTA").partition(";")[2].strip(),
    )


def _complaint(report: MailReport, part: Message, original: Message | None) -> MailReport:
    fields = complaint.feedback_fields(part)
    feedback_type = field(fields, "Feedback-Type").lower()
    senders = addresses(fields, "Original-Mail-From")
    return replace(
        report,
        kind=complaint.kind_of(feedback_type),
        recipients=tuple(complaint.complainants(fields, original)),
        returned_to=tuple(dict.fromkeys([*senders, *report.returned_to])),
        envelope_id=field(fields, "Original-Envelope-Id"),
        reporting_mta=field(fields, "Reporting-MTA").partition(";")[2].strip(),
        feedback_type=feedback_type,
    )


def _freeform(report: MailReport, raw: bytes, body: str) -> MailReport:
    delayed, failed = freeform.failures(raw)
    if failed:
        found = [freeform.told(address, body, action="failed") for address in failed]
        return replace(report, kind=ReportKind.BOUNCE, recipients=tuple(found))
    if delayed:
        found = [freeform.told(address, body, action="delayed") for address in delayed]
        return replace(report, kind=ReportKind.DELAYED, recipients=tuple(found))
    return report


def _original(parts: list[Message]) -> Message | None:
    """The header of the message that came back."""
    for part in parts[1:]:
        if part.get_content_type() not in _ORIGINAL_TYPES:
            continue
        payload = part.get_payload()
        if isinstance(payload, list):
            return payload[0] if payload and isinstance(payload[0], Message) else None
        return HeaderParser(policy=compat32).parsestr(_decoded(part).lstrip("\r\n"))
    return None


def _returned_to(message: Message, original: Message | None) -> tuple[str, ...]:
    found = [address for name in _RETURN_FIELDS for address in addresses(message, name)]
    if original is not None:
        found += addresses(original, "Return-Path")
    return tuple(islice(dict.fromkeys(found), MAX_VALUES))


def _message_ids(original: Message | None, body: str) -> tuple[str, ...]:
    named = [] if original is None else all_fields(original, "Message-ID")
    found = [value.strip(" <>") for value in named]
    found += islice((match[1] for match in _MESSAGE_ID.finditer(body)), MAX_VALUES)
    return tuple(islice(dict.fromkeys(value for value in found if value), MAX_VALUES))


def _text(parts: list[Message]) -> str:
    """The words of the report: its first text parts, not those of the message that came back."""
    texts: list[str] = []
    for part in parts:
        if part.get_content_type() in _ORIGINAL_TYPES:
            break
        if part.get_content_type() == "text/plain" or (
            not texts and part.get_content_maintype() == "text"
        ):
            texts.append(_decoded(part)[: freeform.MAX_TEXT])
    return "\n".join(texts)[: freeform.MAX_TEXT]


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, UnicodeError, ValueError):
        return payload.decode("utf-8", "replace")
