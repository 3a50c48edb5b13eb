"""What a server's reply means for one message; pure.

Codes of RFC 5321 section 4.2.3, enhanced codes of RFC 3463 and of IANA's registry. Who is at fault
decides whether an address may be suppressed: only :attr:`FailureClass.ADDRESS` says the address.
"""

from __future__ import annotations

import re
from enum import StrEnum

from ignition_ext.channels.smtp.replies import Reply
from ignition_ext.values import FailureClass, Outcome, OutcomeKind


class Stage(StrEnum):
    """Which command the reply answers."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "the final dot"
    LONE_DOT = "a lone dot"
    RSET = "RSET"
    QUIT = "QUIT"


_BAD_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
_BAD_SENDER = frozenset({"1.7", "1.8"})
_TOO_LARGE = frozenset({"2.3", "3.4"})
_TOO_MANY = frozenset({"5.3", "7.28"})
_NEEDS_SMTPUTF8 = frozenset({"6.7", "6.10"})
# The server does not understand us: no fault of the address, and trying again does not help.
_SYNTAX = frozenset({500, 502, 503, 504, 555})
_LOGIN_WANTED = frozenset({530, 534, 535, 538})

_SUBJECTS = {
    "1": FailureClass.ADDRESS,
    "2": FailureClass.MAILBOX,
    "3": FailureClass.SYSTEM,
    "4": FailureClass.CONNECTION,
    "5": FailureClass.SYSTEM,
    "6": FailureClass.CONTENT,
    "7": FailureClass.POLICY,
}
_POLICY_WORDS = re.compile(
    r"spam|spf\b|dkim|dmarc|block|black|blocklist|reputation|policy|relay|denied|banned|"
    r"not permitted|not allowed|reject(?:ed)? due|rbl\b|greylist|greylisted|try again later",
    re.IGNORECASE,
)
_QUEUE_ID = re.compile(
    r"queued as (?P<postfix>[\w.-]+)"
    r"|\bid=(?P<exim>[\w.-]+)"
    r"|InternalId=(?P<exchange>\d+)"
    r"|^(?P<sendmail>\w{10,}) Message accepted"
    r"|^(?i:ok) +(?P<bare>[\w.@-]{12,})",
)


def classify(stage: Stage, reply: Reply) -> Outcome:
    """The outcome for the recipient of this envelope."""
    if reply.positive:
        return Outcome(
            kind=OutcomeKind.ACCEPTED,
            code=str(reply.code),
            enhanced=reply.enhanced,
            text=reply.text,
            provider_id=queue_id(reply.text),
        )
    if reply.code == 421:
        return _refusal(OutcomeKind.DEFERRED, reply, FailureClass.THROTTLED, charges=False)
    failure = _failure_class(stage, reply)
    later = reply.transient or (failure is FailureClass.MAILBOX and _full(stage, reply))
    return _refusal(OutcomeKind.DEFERRED if later else OutcomeKind.REJECTED, reply, failure)


def stops_run(stage: Stage, reply: Reply) -> FailureClass | None:
    """Whether this refusal is meant for us and not for one message; then every next one fails too.

    A login that is wanted is one at any stage; a permanent refusal of MAIL is one unless its code
    speaks of this message: too large, or of a form that the server does not take.
    """
    if reply.code in _LOGIN_WANTED:
        return FailureClass.AUTH
    detail = _detail(reply)
    about_message = detail in _TOO_LARGE | _NEEDS_SMTPUTF8 or reply.code == 552
    if stage is Stage.MAIL and reply.permanent and not about_message:
        return FailureClass.CONFIGURATION
    return None


def names_bad_address(enhanced: str) -> bool:
    """Whether a code of RFC 3463 says that the address does not exist, now and later."""
    return enhanced in _BAD_ADDRESS


def queue_id(text: str) -> str:
    """The id under which the server queued a message, as its own log writes it; empty if unsaid."""
    match = _QUEUE_ID.search(text)
    return next((value for value in match.groups() if value), "") if match else ""


def _refusal(
    kind: OutcomeKind, reply: Reply, failure: FailureClass, *, charges: bool = True
) -> Outcome:
    return Outcome(
        kind=kind,
        code=str(reply.code),
        enhanced=reply.enhanced,
        text=reply.text,
        failure_class=failure,
        charges_attempt=charges,
    )


def _detail(reply: Reply) -> str:
    return reply.enhanced[2:]


def _full(stage: Stage, reply: Reply) -> bool:
    """A permanent code that means "not now": a full mailbox empties, 552 may be an old 452."""
    return _detail(reply) == "2.2" or (reply.code == 552 and _detail(reply) not in _TOO_LARGE)


def _failure_class(stage: Stage, reply: Reply) -> FailureClass:
    if not reply.enhanced:
        return _by_code(stage, reply)
    detail = _detail(reply)
    if detail in _BAD_SENDER:
        return FailureClass.SENDER
    if detail in _TOO_LARGE:
        return FailureClass.CONTENT
    if detail in _TOO_MANY:
        return FailureClass.THROTTLED
    if detail in _NEEDS_SMTPUTF8:
        return FailureClass.ADDRESS
    if reply.enhanced in _BAD_ADDRESS:
        return FailureClass.ADDRESS
    subject = detail.partition(".")[0]
    if subject == "7":
        return FailureClass.POLICY
    if reply.code == 552:
        return FailureClass.MAILBOX
    if subject == "1" and reply.permanent:
        # 5.1.0, 5.1.4 … : something about an address, but not that it does not exist.
        return FailureClass.MAILBOX
    return _SUBJECTS.get(subject) or _by_code(stage, reply)


def _by_code(stage: Stage, reply: Reply) -> FailureClass:
    """For servers without enhanced codes: the place of the refusal, and the words that it uses."""
    policy = _POLICY_WORDS.search(reply.text) is not None
    match reply.code:
        case 552:
            return FailureClass.MAILBOX
        case code if code in _SYNTAX:
            return FailureClass.SYSTEM
        case 450 | 452 if not policy:
            return FailureClass.MAILBOX if reply.code == 450 else FailureClass.SYSTEM
        case _ if policy:
            return FailureClass.POLICY
        case 501 | 550 | 551 | 553 if stage is Stage.RCPT:
            return FailureClass.ADDRESS
        case _ if reply.permanent and stage is Stage.CONTENT:
            return FailureClass.CONTENT
        case _ if reply.permanent and stage is Stage.RCPT:
            return FailureClass.POLICY
        case _:
            return FailureClass.SYSTEM
