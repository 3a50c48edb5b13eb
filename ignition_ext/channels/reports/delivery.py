"""Delivery status notifications: ``multipart/report`` of RFC 3462 and 6522 with RFC 3464's part."""

from __future__ import annotations

import re
from dataclasses import replace
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32

from ignition_ext.channels.reports.fields import MAX_VALUES, field, typed
from ignition_ext.channels.reports.freeform import without_original, words_about
from ignition_ext.channels.reports.report import (
    DELIVERED_ACTIONS,
    FAILED_ACTIONS,
    ReportedRecipient,
    ReportKind,
)
from ignition_ext.channels.reports.status import judge

STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
MAX_CONTEXT = 4000
"""Characters of a report's text that are searched for the refused command; it stands on top."""
_BLANK = re.compile(r"\r?\n[ \t]*\r?\n")


def status_blocks(part: Message) -> list[Message]:
    """The fields of the message, then those of each recipient.

    Python's parser splits the part that RFC 3464 names; that of RFC 6533 it takes for a mail.
    """
    payload = part.get_payload()
    if not isinstance(payload, list):
        return _split(_plain(part))
    blocks: list[Message] = [block for block in payload if isinstance(block, Message)]
    if part.get_content_type() == STATUS_TYPES[0]:
        return blocks[:MAX_VALUES]
    rest = [_plain(block) for block in blocks if not block.is_multipart()]
    return [*blocks, *_split("\n\n".join(rest))][:MAX_VALUES]


def _plain(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _split(text: str) -> list[Message]:
    parser = HeaderParser(policy=compat32)
    pieces = _BLANK.split(text.strip(), maxsplit=MAX_VALUES)[:MAX_VALUES]
    return [parser.parsestr(piece.lstrip()) for piece in pieces if piece.strip()]


def recipients(blocks: list[Message], context: str) -> list[ReportedRecipient]:
    """Each recipient that the blocks name."""
    context = without_original(context)[:MAX_CONTEXT]
    return [_recipient(block, context) for block in blocks if _names_recipient(block)]


def _names_recipient(block: Message) -> bool:
    return "Final-Recipient" in block or "Original-Recipient" in block or "Action" in block


def _recipient(block: Message, context: str) -> ReportedRecipient:
    address = typed(field(block, "Final-Recipient")) or typed(field(block, "X-Actual-Recipient"))
    action = field(block, "Action").lower().partition(" ")[0].strip(";,.")
    status, diagnostic = field(block, "Status"), field(block, "Diagnostic-Code")
    kind, semicolon, words = diagnostic.partition(";")
    diagnostic = words.strip() if semicolon and " " not in kind.strip() else diagnostic
    # OpenSMTPD, and Exim for what it finds out itself, say it in the text alone.
    diagnostic = diagnostic or words_about(address, context)
    told = ReportedRecipient(
        address=address,
        original=typed(field(block, "Original-Recipient")),
        action=action,
        status=status,
        diagnostic=diagnostic,
        remote_mta=field(block, "Remote-MTA").partition(";")[2].strip(),
    )
    if action in DELIVERED_ACTIONS:
        return told
    judged = judge(status, diagnostic, context)
    return replace(
        told,
        status=judged.status,
        code=judged.code,
        failure_class=judged.failure_class,
        is_hard=judged.is_hard and action in FAILED_ACTIONS,
    )


def kind_of(found: list[ReportedRecipient]) -> ReportKind:
    """What the recipients' actions make of the whole: a failure outweighs the rest."""
    actions = {recipient.action for recipient in found}
    if actions & set(FAILED_ACTIONS):
        return ReportKind.BOUNCE
    if "delayed" in actions:
        return ReportKind.DELAYED
    if actions & set(DELIVERED_ACTIONS):
        return ReportKind.DELIVERED
    return ReportKind.UNKNOWN
