"""What came of one envelope, and what that says of the server; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ignition_ext.channels.smtp.classify import Stage, classify, stops_run
from ignition_ext.channels.smtp.replies import Reply
from ignition_ext.errors import (
    AuthenticationFailed,
    ChannelError,
    ConnectFailed,
    ProtocolViolation,
    Throttled,
)
from ignition_ext.values import FailureClass, Outcome, OutcomeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What came of one envelope.

    Attributes:
        judged: the server took the message or refused it for its own sake.
        fatal: the server refused us as a whole; nothing more should be sent.
    """

    outcome: Outcome
    judged: bool = True
    fatal: ChannelError | None = None


def answered(stage: Stage, reply: Reply, server: str) -> Exchange:
    """By the reply that decided it."""
    failure = None if reply.positive else stops_run(stage, reply)
    if failure is None:
        return Exchange(outcome=classify(stage, reply), judged=reply.code != 421)
    outcome = Outcome(
        kind=OutcomeKind.UNSENT,
        code=str(reply.code),
        enhanced=reply.enhanced,
        text=reply.text,
        failure_class=failure,
        charges_attempt=False,
    )
    return Exchange(
        outcome=outcome, judged=False, fatal=_refused_whole(stage, reply, failure, server)
    )


def unanswered(error: Exception, *, handed_over: bool, fatal: ChannelError | None) -> Exchange:
    """The link was lost: before the server can have seen the final dot, or after that."""
    outcome = Outcome(
        kind=OutcomeKind.UNCERTAIN if handed_over else OutcomeKind.UNSENT,
        text=str(error),
        failure_class=FailureClass.CONNECTION,
        charges_attempt=False,
    )
    return Exchange(outcome=outcome, judged=False, fatal=fatal)


def nonsense(text: str, server: str) -> ProtocolViolation:
    """The server does not speak SMTP, or speaks of something else than we do."""
    return ProtocolViolation(
        f"the server answers what is not SMTP: {text}",
        server=server,
        temporary=False,
        mend="Check host and port of the block; `check()` shows what answers there.",
    )


def session_error(outcome: Outcome, server: str) -> ChannelError:
    """What a session that ended with this outcome says of the server."""
    if outcome.code:
        return Throttled(
            f"the server keeps asking to come back later: {outcome.code} {outcome.text}",
            server=server,
            code=outcome.code,
        )
    return ConnectFailed(
        f"connections to the server do not hold: {outcome.text}",
        server=server,
        mend="Look into the server's log; nothing was judged in the last sessions.",
    )


def _refused_whole(stage: Stage, reply: Reply, failure: FailureClass, server: str) -> ChannelError:
    kind = AuthenticationFailed if failure is FailureClass.AUTH else ChannelError
    mend = (
        "Give the block the user name and password that this server wants."
        if failure is FailureClass.AUTH
        else "Ask the server's operator whether this sender and this machine may send there."
    )
    return kind(
        f"the server refuses {stage}: {reply}",
        server=server,
        code=str(reply.code),
        temporary=False,
        mend=mend,
    )
