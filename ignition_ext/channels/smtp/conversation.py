"""MAIL, RCPT, DATA for one envelope after the other on one open connection.

The seam for pipelining: a conversation is anything with :meth:`Conversation.send`. This one waits
for each reply before the next command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ignition_ext.channels.smtp.classify import Stage, classify, stops_run
from ignition_ext.channels.smtp.options import EmailEnvelope, ServerOffer, SmtpOptions
from ignition_ext.channels.smtp.replies import MalformedReply, Reply
from ignition_ext.channels.smtp.wire import LinkLost, Wire
from ignition_ext.errors import (
    AuthenticationFailed,
    ChannelError,
    ProtocolViolation,
)
from ignition_ext.values import FailureClass, Outcome, OutcomeKind

_LINE_START_DOT = re.compile(rb"^\.", re.MULTILINE)
# A server that takes a lone LF or CR for a line end would see other lines than we wrote.
_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# What may stand between the angle brackets of MAIL and RCPT; anything else could end the command
# and begin another one.
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>\u0080-\u009f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What came of one envelope.

    Attributes:
        judged: the server took the message or refused it for its own sake.
        usable: the connection may be used again.
        fatal: the server refused us as a whole; nothing more should be sent.
    """

    outcome: Outcome
    judged: bool = True
    usable: bool = True
    fatal: ChannelError | None = None


class _Refused(Exception):
    """A reply that ends the exchange."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        self.stage, self.reply = stage, reply


class Conversation:
    """One command at a time."""

    def __init__(self, wire: Wire, offer: ServerOffer, options: SmtpOptions) -> None:
        self._wire, self._offer, self._options = wire, offer, options
        self._handed_over = False

    async def send(self, envelope: EmailEnvelope) -> Exchange:
        """Hand one message over. Never raises for what a server does.

        ``UNSENT`` is answered only when the server cannot have seen the final dot, ``UNCERTAIN``
        when it can have seen it and did not say what it thinks of it.
        """
        fault = envelope_fault(envelope, self._offer)
        if fault is not None:
            return Exchange(outcome=fault, judged=False)
        self._handed_over = False
        try:
            reply = await self._transfer(envelope)
        except _Refused as refusal:
            return await self._refused(refusal)
        except LinkLost as error:
            return Exchange(outcome=self._lost(str(error)), judged=False, usable=False)
        except MalformedReply as error:
            return self._nonsense(str(error))
        return Exchange(outcome=classify(Stage.CONTENT, reply))

    async def _transfer(self, envelope: EmailEnvelope) -> Reply:
        await self._command(Stage.MAIL, mail_command(envelope, self._offer))
        await self._command(Stage.RCPT, f"RCPT TO:<{envelope.recipient}>")
        await self._command(Stage.DATA, "DATA")
        await self._content(stuffed(envelope.content))
        reply = await self._wire.reply(self._options.final_reply_timeout, Stage.CONTENT)
        if not reply.positive:
            self._expect(Stage.CONTENT, reply)
        return reply

    async def _command(self, stage: Stage, line: str) -> None:
        self._wire.write(line.encode() + b"\r\n")
        reply = await self._wire.reply(self._options.command_timeout, stage)
        if not (reply.code == 354 if stage is Stage.DATA else reply.positive):
            self._expect(stage, reply)

    def _expect(self, stage: Stage, reply: Reply) -> None:
        """Only a refusal may stand where neither success nor nonsense does."""
        if reply.transient or reply.permanent:
            raise _Refused(stage, reply)
        raise MalformedReply(f"{reply} to {stage}")

    async def _content(self, body: bytes) -> None:
        """Write the body, then the final dot on its own: while it is unwritten, nothing was sent.

        A server may refuse in the middle and hang up; its reply then says more than the loss.
        """
        timeout = self._options.command_timeout
        try:
            self._wire.write(body)
            await self._wire.flushed(timeout)
            self._wire.write(b".\r\n")
            self._handed_over = self._wire.handed_over
            await self._wire.flushed(timeout)
            self._handed_over = self._handed_over or self._wire.handed_over
        except LinkLost:
            reply = self._wire.waiting_reply()
            if reply is None or reply.positive:
                raise
            self._expect(Stage.CONTENT, reply)

    def _lost(self, text: str) -> Outcome:
        return Outcome(
            kind=OutcomeKind.UNCERTAIN if self._handed_over else OutcomeKind.UNSENT,
            text=text,
            failure_class=FailureClass.CONNECTION,
            charges_attempt=False,
        )

    def _nonsense(self, text: str) -> Exchange:
        error = ProtocolViolation(
            f"the server answers what is not SMTP: {text}",
            server=self._options.server,
            temporary=False,
            mend="Check host and port of the block; `check()` shows what answers there.",
        )
        return Exchange(outcome=self._lost(error.message), judged=False, usable=False, fatal=error)

    async def _refused(self, refusal: _Refused) -> Exchange:
        stage, reply = refusal.stage, refusal.reply
        failure = stops_run(stage, reply)
        if failure is not None:
            return Exchange(
                outcome=Outcome(
                    kind=OutcomeKind.UNSENT,
                    code=str(reply.code),
                    enhanced=reply.enhanced,
                    text=reply.text,
                    failure_class=failure,
                    charges_attempt=False,
                ),
                judged=False,
                fatal=_refused_whole(stage, reply, failure, self._options),
            )
        outcome = classify(stage, reply)
        if reply.code == 421:
            return Exchange(outcome=outcome, judged=False, usable=False)
        if stage is Stage.CONTENT:
            return Exchange(outcome=outcome, usable=self._wire.usable)
        return Exchange(outcome=outcome, usable=await self._reset())

    async def _reset(self) -> bool:
        """RSET, so that the next MAIL does not meet a half-open transaction."""
        try:
            self._wire.write(b"RSET\r\n")
            reply = await self._wire.reply(self._options.command_timeout, "RSET")
        except (LinkLost, MalformedReply):
            return False
        return reply.positive


def _refused_whole(
    stage: Stage, reply: Reply, failure: FailureClass, options: SmtpOptions
) -> ChannelError:
    kind = AuthenticationFailed if failure is FailureClass.AUTH else ChannelError
    mend = (
        "Give the block the user name and password that this server wants."
        if failure is FailureClass.AUTH
        else "Ask the server's operator whether this sender and this machine may send there."
    )
    return kind(
        f"the server refuses {stage}: {reply}",
        server=options.server,
        code=str(reply.code),
        temporary=False,
        mend=mend,
    )


def mail_command(envelope: EmailEnvelope, offer: ServerOffer) -> str:
    """``MAIL FROM:<…>`` with the parameters that the server announced and the message needs."""
    parts = [f"MAIL FROM:<{envelope.envelope_from}>"]
    if offer.offers("SIZE"):
        parts.append(f"SIZE={len(envelope.content)}")
    if not envelope.content.isascii():
        parts.append("BODY=8BITMIME")
    if envelope.smtputf8:
        parts.append("SMTPUTF8")
    return " ".join(parts)


def stuffed(content: bytes) -> bytes:
    """Dots doubled at line starts (RFC 5321 section 4.5.2), CRLF at the end."""
    if b"\n." in content or content.startswith(b"."):
        content = _LINE_START_DOT.sub(b"..", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def envelope_fault(envelope: EmailEnvelope, offer: ServerOffer) -> Outcome | None:
    """Why this envelope must not be tried on this server; None when it may."""
    for address, failure in (
        (envelope.recipient, FailureClass.ADDRESS),
        (envelope.envelope_from, FailureClass.SENDER),
    ):
        if _UNSAFE.search(address):
            return _unsendable(f"{address!r} is no address for SMTP", failure)
        if not address.isascii() and not envelope.smtputf8:
            return _unsendable(f"{address!r} needs SMTPUTF8", failure)
    if not envelope.recipient:
        return _unsendable("the recipient is empty", FailureClass.ADDRESS)
    if envelope.smtputf8 and not offer.offers("SMTPUTF8"):
        return _unsendable(
            f"{offer.server} does not offer SMTPUTF8, which the non-ASCII part before the @ of"
            " an address needs",
            FailureClass.ADDRESS,
        )
    if _BARE_LINE_END.search(envelope.content):
        return _unsendable("the message has line ends other than CRLF", FailureClass.CONTENT)
    if not envelope.content.isascii() and not offer.offers("8BITMIME"):
        return _unsendable(f"{offer.server} does not offer 8BITMIME", FailureClass.CONTENT)
    if 0 < offer.size_limit < len(envelope.content):
        return _unsendable(
            f"the message has {len(envelope.content)} octets, {offer.server} takes"
            f" {offer.size_limit}",
            FailureClass.CONTENT,
        )
    return None


def _unsendable(text: str, failure: FailureClass) -> Outcome:
    return Outcome(kind=OutcomeKind.REJECTED, text=text, failure_class=failure)
