"""Complaints: abuse reports of RFC 5965, as mailbox providers' feedback loops send them."""

from __future__ import annotations

from email.message import Message

from ignition_ext.channels.reports.fields import addresses, field, in_text, typed
from ignition_ext.channels.reports.report import ReportedRecipient, ReportKind

FEEDBACK_TYPE = "message/feedback-report"
_COMPLAINTS = frozenset(
    {"abuse", "fraud", "virus", "other", "miscategorized", "opt-out", "opt-out-list"}
)
"""Of IANA's registry. ``not-spam`` is praise, ``auth-failure`` and ``dmarc`` come from servers."""


def feedback_fields(part: Message) -> Message:
    """The fields of the report's machine-readable part."""
    payload = part.get_payload()
    if isinstance(payload, list) and payload and isinstance(payload[0], Message):
        return payload[0]
    return part


def kind_of(feedback_type: str) -> ReportKind:
    """Whether a recipient complained."""
    return ReportKind.COMPLAINT if feedback_type in _COMPLAINTS else ReportKind.UNKNOWN


def complainants(fields: Message, original: Message | None) -> list[ReportedRecipient]:
    """Who complained: often taken out by the provider, then the original's To may tell."""
    named = [
        typed(field(fields, name)) for name in ("Original-Rcpt-To", "Removal-Recipient")
    ] + in_text(field(fields, "Original-Rcpt-To"))
    if original is not None:
        named += [
            address
            for name in ("X-HmXmrOriginalRecipient", "To")
            for address in addresses(original, name)
        ]
    found = dict.fromkeys(address for address in named if "@" in address)
    return [ReportedRecipient(address=address, original=address) for address in found]
