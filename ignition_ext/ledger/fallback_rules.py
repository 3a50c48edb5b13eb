"""Which ends of an email let a text message go instead: pure, the whole policy in one place.

A text message may only go where the email did not get through, for all that is known, and where
that was not our own mistake: what an operator mends and sends again is no reason to write to the
same people twice, and a wrong password none to write to a whole audience by SMS.

=====================  =========  ==============================================================
the email is           counts as  but for
=====================  =========  ==============================================================
failed                 failed     templates, logins, settings and senders: ours to mend
bounced                bounced
expired                expired
suppressed, as it      bounced    any other reason: an opt-out, a complaint, a cap and a topic
bounced before                    are wishes not to be written to
uncertain              uncertain  nothing, but it is left out unless it is asked for: the email
                                  may have arrived
any other              --
=====================  =========  ==============================================================

Where copies were sent in ignorance before (at-least-once), one of them may have arrived, however
the message ended: that is as uncertain as can be, and counts only where ``uncertain`` does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import assert_never

from ignition_ext.values import FailureClass, FallbackCause, MessageState

BOUNCED_BEFORE = "on the suppression list: bounce"
"""What a claim notes of a message whose address is suppressed because it bounced."""
OURS = frozenset(
    {
        FailureClass.RENDER,
        FailureClass.AUTH,
        FailureClass.CONFIGURATION,
        FailureClass.SENDER,
    }
)
"""Failures that say nothing about the recipient: mended here, and sent again by a redrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailEnd:
    """How an email stands.

    Attributes:
        failure_class: of its last refusal; None where there was none.
        detail: what was noted with its state.
        resends: copies of which nothing is known that were sent before.
    """

    state: MessageState
    failure_class: FailureClass | None = None
    detail: str = ""
    resends: int = 0


def falls_back(end: EmailEnd, on: Collection[FallbackCause]) -> FallbackCause | None:
    """Why a text message goes instead; None where none does.

    Args:
        end: how the email stands.
        on: the ends that the campaign lets fall back.
    """
    cause = _cause(end)
    if cause is None or cause not in on:
        return None
    if end.resends and FallbackCause.UNCERTAIN not in on:
        return None
    return cause


def _cause(end: EmailEnd) -> FallbackCause | None:
    match end.state:
        case MessageState.FAILED:
            return None if end.failure_class in OURS else FallbackCause.FAILED
        case MessageState.BOUNCED:
            return FallbackCause.BOUNCED
        case MessageState.EXPIRED:
            return FallbackCause.EXPIRED
        case MessageState.UNCERTAIN:
            return FallbackCause.UNCERTAIN
        case MessageState.SUPPRESSED:
            return FallbackCause.BOUNCED if end.detail == BOUNCED_BEFORE else None
        case (
            MessageState.PENDING
            | MessageState.CLAIMED
            | MessageState.SENDING
            | MessageState.DEFERRED
            | MessageState.SENT
            | MessageState.DELIVERED
            | MessageState.COMPLAINED
            | MessageState.CANCELLED
        ):
            return None
        case _:
            assert_never(end.state)
