"""What a mail that came back says, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ignition_ext.values import FailureClass


class ReportKind(StrEnum):
    """What a mail that came back is."""

    BOUNCE = "bounce"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    AUTO_REPLY = "auto_reply"
    CHALLENGE = "challenge"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRecipient:
    """One recipient of the original message, as the report speaks of it.

    Attributes:
        address: the one that the server ended at; after forwarding not the one we wrote to.
        original: the one that we wrote to, where the report says it.
        action: of RFC 3464 section 2.3.3 in lower case: failed, delayed, delivered …
        status: the most telling code of RFC 3463, such as ``5.1.1``; empty without one.
        code: the SMTP reply code that the remote server gave, such as ``550``; empty without one.
        diagnostic: the remote server's words.
        remote_mta: the server that said so.
        failure_class: whose fault it is; None where nothing failed.
        is_hard: the address does not exist, and no later message will find it.
    """

    address: str = ""
    original: str = ""
    action: str = ""
    status: str = ""
    code: str = ""
    diagnostic: str = ""
    remote_mta: str = ""
    failure_class: FailureClass | None = None
    is_hard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReport:
    """One mail that came back.

    Attributes:
        kind: what it is.
        recipients: those it speaks of, in its order; of a complaint the one who complained.
        returned_to: addresses that this mail was sent to, and envelope senders of the original
            that it quotes: our token stands in one of them.
        message_ids: the original's Message-ID without brackets; the likeliest first.
        envelope_id: ENVID of the original (RFC 3461 section 4.4).
        reporting_mta: the server that wrote the report.
        feedback_type: of RFC 5965 section 3.1, such as ``abuse``.
        sender: the report's own From address.
        subject: the report's own.
        tokens: of a mail that asks to unsubscribe: what may be its token, the likeliest first.
    """

    kind: ReportKind
    recipients: tuple[ReportedRecipient, ...] = ()
    returned_to: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    envelope_id: str = ""
    reporting_mta: str = ""
    feedback_type: str = ""
    sender: str = ""
    subject: str = ""
    tokens: tuple[str, ...] = ()

    @property
    def decisive(self) -> ReportedRecipient:
        """The recipient that the kind comes from; an empty one where none is named."""
        wanted = _ACTIONS.get(self.kind, ())
        for recipient in self.recipients:
            if recipient.action in wanted:
                return recipient
        return self.recipients[0] if self.recipients else ReportedRecipient()


FAILED_ACTIONS = ("failed", "error")
"""OpenSMTPD writes ``error`` where RFC 3464 wants ``failed``."""
DELIVERED_ACTIONS = ("delivered", "relayed", "expanded")
_ACTIONS = {
    ReportKind.BOUNCE: FAILED_ACTIONS,
    ReportKind.DELAYED: ("delayed",),
    ReportKind.DELIVERED: DELIVERED_ACTIONS,
}
