"""The bytes that SMTP wants of an envelope, or why they must not be written; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ignition_ext.channels.smtp.classify import Stage
from ignition_ext.channels.smtp.options import EmailEnvelope, ServerOffer
from ignition_ext.channels.smtp.replies import Reply
from ignition_ext.values import FailureClass, Outcome, OutcomeKind

# What may stand between the angle brackets of MAIL and RCPT; anything else could end the command
# and begin another one.
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>\u0080-\u009f\u2028\u2029\ud800-\udfff]")


@dataclass(slots=True, kw_only=True, eq=False)
class Letter:
    """One message on its way over one connection.

    Attributes:
        mail, rcpt: the commands, with their line ends.
        content: dots doubled, with a line end and without the final dot; emptied when written.
        refusal: the first reply that refused it.
        handed_over: whether the final dot has been given to the socket.
    """

    mail: bytes
    rcpt: bytes
    content: bytes
    refusal: tuple[Stage, Reply] | None = None
    handed_over: bool = False


def make_letter(envelope: EmailEnvelope, offer: ServerOffer) -> Letter | Outcome:
    """What to write for this envelope to this server; an outcome where nothing may be written."""
    fault = envelope_fault(envelope, offer)
    if fault is not None:
        return fault
    return Letter(
        mail=mail_command(envelope, offer).encode() + b"\r\n",
        rcpt=f"RCPT TO:<{envelope.recipient}>\r\n".encode(),
        content=stuffed(envelope.content),
    )


def mail_command(envelope: EmailEnvelope, offer: ServerOffer) -> str:
    """``MAIL FROM:<…>`` with the parameters that the server announced and the message needs."""
    command = f"MAIL FROM:<{envelope.envelope_from}>"
    if offer.offers("SIZE"):
        command += f" SIZE={len(envelope.content)}"
    if not envelope.content.isascii():
        command += " BODY=8BITMIME"
    return f"{command} SMTPUTF8" if envelope.smtputf8 else command


def stuffed(content: bytes) -> bytes:
    """Dots doubled at line starts (RFC 5321 section 4.5.2), CRLF at the end.

    The lines must end in CRLF already, as :func:`envelope_fault` sees to.
    """
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def envelope_fault(envelope: EmailEnvelope, offer: ServerOffer) -> Outcome | None:
    """Why this envelope must not be tried on this server; None when it may."""
    content = envelope.content
    for address, failure in (
        (envelope.recipient, FailureClass.ADDRESS),
        (envelope.envelope_from, FailureClass.SENDER),
    ):
        if not _ordinary(address):
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
    # A server that takes a lone LF or CR for a line end would see other lines than we wrote. As
    # many pairs as there are of either: none is alone.
    if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
        return _unsendable("the message has line ends other than CRLF", FailureClass.CONTENT)
    if not content.isascii() and not offer.offers("8BITMIME"):
        return _unsendable(f"{offer.server} does not offer 8BITMIME", FailureClass.CONTENT)
    if 0 < offer.size_limit < len(content):
        return _unsendable(
            f"the message has {len(content)} octets, {offer.server} takes {offer.size_limit}",
            FailureClass.CONTENT,
        )
    return None


def _ordinary(address: str) -> bool:
    """Nearly every address; the others are looked at more closely. Costs a tenth of the search."""
    return (
        address.isascii()
        and address.isprintable()
        and " " not in address
        and "<" not in address
        and ">" not in address
    )


def _unsendable(text: str, failure: FailureClass) -> Outcome:
    return Outcome(kind=OutcomeKind.REJECTED, text=text, failure_class=failure)
