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
# Each begins with one literal octet, so that the search runs at memchr's speed: a CR that is not
# part of a CRLF or has a dot behind it, and an LF without its CR.
_ODD_CR = re.compile(rb"\r(?!\n(?:[^.]|\Z))")
_ODD_LF = re.compile(rb"\n(?<!\r\n)")


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
    fault = _address_fault(envelope, offer) or _size_fault(envelope.content, offer)
    if fault is not None:
        return fault
    content = stuffed(envelope.content)
    if content is None:
        # A server that takes a lone LF or CR for a line end would see other lines than we wrote.
        return _unsendable("the message has line ends other than CRLF", FailureClass.CONTENT)
    return Letter(
        mail=mail_command(envelope, offer).encode() + b"\r\n",
        rcpt=f"RCPT TO:<{envelope.recipient}>\r\n".encode(),
        content=content,
    )


def mail_command(envelope: EmailEnvelope, offer: ServerOffer) -> str:
    """``MAIL FROM:<…>`` with the parameters that the server announced and the message needs."""
    command = f"MAIL FROM:<{envelope.envelope_from}>"
    if offer.offers("SIZE"):
        command += f" SIZE={len(envelope.content)}"
    if not envelope.content.isascii():
        command += " BODY=8BITMIME"
    return f"{command} SMTPUTF8" if envelope.smtputf8 else command


def stuffed(content: bytes) -> bytes | None:
    """Dots doubled at line starts (RFC 5321 section 4.5.2), CRLF at the end.

    None where a CR or LF stands alone. Each message passes here, and most need nothing.
    """
    if _ODD_CR.search(content) or _ODD_LF.search(content):
        # As many pairs as there are of either: none is alone.
        if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
            return None
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def _address_fault(envelope: EmailEnvelope, offer: ServerOffer) -> Outcome | None:
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
    return None


def _size_fault(content: bytes, offer: ServerOffer) -> Outcome | None:
    if not content.isascii() and not offer.offers("8BITMIME"):
        return _unsendable(f"{offer.server} does not offer 8BITMIME", FailureClass.CONTENT)
    if 0 < offer.size_limit < len(content):
        return _unsendable(
            f"the message has {len(content)} octets, {offer.server} takes {offer.size_limit}",
            FailureClass.CONTENT,
        )
    return None


def _ordinary(address: str) -> bool:
    """Nearly every address; the others are looked at more closely."""
    return (
        address.isascii()
        and address.isprintable()
        and " " not in address
        and "<" not in address
        and ">" not in address
    )


def _unsendable(text: str, failure: FailureClass) -> Outcome:
    return Outcome(kind=OutcomeKind.REJECTED, text=text, failure_class=failure)
