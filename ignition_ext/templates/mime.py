"""A rendered message as the bytes that go on the wire (RFC 5322, RFC 2045 to 2049).

What is the same for all recipients (sender, headers, attachments) is built once; a message is then
put together from the parts that are its own. The tests hold what parsers of others read out of it
against what went in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, getaddresses
from functools import cache
from hashlib import sha256
from typing import Protocol

from ignition_ext.errors import ConfigurationError, TemplateError
from ignition_ext.templates import mime_headers as headers
from ignition_ext.templates.attachments import Attachment, check_total, part
from ignition_ext.templates.mime_headers import HeaderError
from ignition_ext.templates.mime_images import InlineImages
from ignition_ext.templates.mime_text import TextEncoder, TextError
from ignition_ext.values import MessageId

_OWN_FIELDS = frozenset({"from", "to", "cc", "bcc", "subject", "date", "message-id"})
_ADDRESS_FIELDS = frozenset(
    {"reply-to", "sender", "mail-followup-to", "disposition-notification-to"}
)
_TOKEN_FIELDS = frozenset(
    {"references", "in-reply-to", "precedence", "auto-submitted", "feedback-id", "return-path"}
)


class Rendered(Protocol):
    """What rendering yields: the shape of ``RenderedEmail``."""

    @property
    def subject(self) -> str:
        """One line."""
        ...

    @property
    def html_pieces(self) -> Sequence[str] | None:
        """The HTML, joined; None for a message of text only."""
        ...

    @property
    def text_pieces(self) -> Sequence[str]:
        """The plain text, joined."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedEmail:
    """One message for one recipient.

    Attributes:
        content: CRLF line ends, none longer than 998 octets; ASCII unless ``smtputf8``.
        recipient: for RCPT; the domain in IDNA form.
        smtputf8: an address has a non-ASCII local part, so the server must offer SMTPUTF8.
    """

    content: bytes
    envelope_from: str
    recipient: str
    smtputf8: bool


class EmailComposer:
    """Composes the messages of one run.

    Args:
        sender: ``Acme <news@example.com>``, the From field.
        headers: further fields, such as ``{"Reply-To": "help@example.com"}``.
        attachments: files for every recipient.
        inline: images that the HTML names as ``cid:NAME``.
        message_id_domain: the right side of Message-ID; the sender's domain when None.
        envelope_from: where bounces go; the sender's address when None.

    Raises:
        ConfigurationError: one of these cannot stand in a message.
    """

    def __init__(
        self,
        *,
        sender: str,
        headers: Mapping[str, str],
        attachments: Sequence[Attachment],
        inline: Sequence[Attachment],
        message_id_domain: str | None = None,
        envelope_from: str | None = None,
    ) -> None:
        check_total([*attachments, *inline])
        try:
            self._set_sender(sender, envelope_from)
            if message_id_domain is not None:
                self._domain = _domain(message_id_domain)
            self._fields = _constant_fields(headers)
        except HeaderError as error:
            raise ConfigurationError(
                f"{error}.", mend="Correct from and headers in the campaign file."
            ) from error
        self._attachments = [part(attachment) for attachment in attachments]
        self._images = InlineImages(
            {
                image.name: (cid := self._content_id(image), part(image, content_id=cid))
                for image in inline
            }
        )
        self._encoder = TextEncoder()
        self._message_id_end = f"@{self._domain}>\r\n".encode() + self._fields
        self._second = datetime.min, b""

    def _set_sender(self, sender: str, envelope_from: str | None) -> None:
        name, address = headers.address_of(sender, "From")
        self._domain = address.rpartition("@")[2]
        self._from = headers.address_field("From", [(name, address)])
        if envelope_from is None:
            self._envelope_from = address
        else:
            self._envelope_from = headers.normal_address(envelope_from, "envelope_from")
        self._sender_utf8 = not (address + self._envelope_from).isascii()

    def _content_id(self, image: Attachment) -> str:
        """The same for the same image, so that mail programs load it once a thread."""
        return f"{sha256(image.name.encode() + image.content).hexdigest()[:24]}@{self._domain}"

    def compose(
        self,
        message_id: MessageId,
        address: str,
        rendered: Rendered,
        *,
        name: str = "",
        date: datetime,
        fields: bytes = b"",
    ) -> ComposedEmail:
        """The bytes for one recipient; the same arguments give the same bytes.

        Args:
            message_id: the left side of Message-ID, and of boundaries.
            address: the recipient's.
            rendered: subject and texts.
            name: the recipient's.
            date: of the Date field.
            fields: header lines of this message alone, as :mod:`.mime_headers` writes them.

        Raises:
            TemplateError: subject, name or address hold a line break or are otherwise unfit, a text
                holds a NUL or half a character, or the HTML names an image that is not there. It
                concerns this recipient only.
        """
        try:
            recipient = headers.normal_address(address, "the recipient's address")
            pieces = [
                self._from,
                headers.address_field("To", [(name, recipient)]),
                headers.text_field("Subject", rendered.subject.strip(" ")),
                self._date(date),
                b"Message-ID: <",
                str(message_id).encode(),
                self._message_id_end,
                fields,
                b"MIME-Version: 1.0\r\n",
                *self._body(message_id, rendered),
            ]
        except (HeaderError, TextError, UnicodeEncodeError) as error:
            raise TemplateError(
                f"{error}", mend="Correct the recipient's data or the template."
            ) from error
        return ComposedEmail(
            content=b"".join(pieces),
            envelope_from=self._envelope_from,
            recipient=recipient,
            smtputf8=self._sender_utf8 or not recipient.isascii(),
        )

    def _date(self, date: datetime) -> bytes:
        """The Date field; the same for all messages of a second, if they speak of UTC."""
        second = date.replace(microsecond=0)
        if second.tzinfo is not UTC:
            return _date_field(second)
        if self._second[0].tzinfo is not UTC or self._second[0] != second:
            self._second = second, _date_field(second)
        return self._second[1]

    def _body(self, message_id: MessageId, rendered: Rendered) -> list[bytes]:
        """mixed(related(alternative(text, html), images), files), each level only where needed."""
        number = message_id.hex.encode()
        entity = list(self._encoder.part("plain", rendered.text_pieces))
        if rendered.html_pieces is not None:
            html, images = self._images.place(rendered.html_pieces)
            page = self._encoder.part("html", html)
            entity = _multipart("alternative", number, [entity, page])
            if images:
                entity = _multipart("related", number, [entity, *([image] for image in images)])
        if self._attachments:
            files = ([attachment] for attachment in self._attachments)
            entity = _multipart("mixed", number, [entity, *files])
        return entity


def _date_field(date: datetime) -> bytes:
    return f"Date: {format_datetime(date)}\r\n".encode()


def _domain(domain: str) -> str:
    return headers.normal_address(f"x@{domain}", "the Message-ID's domain")[2:]


def _constant_fields(values: Mapping[str, str]) -> bytes:
    return b"".join(_field(name, value) for name, value in values.items())


def _field(name: str, value: str) -> bytes:
    lower = name.lower()
    if not headers.FIELD_NAME.fullmatch(name):
        raise HeaderError(f"{name!r} is not a header's name")
    if lower in _OWN_FIELDS or lower.startswith(("content-", "mime-")):
        raise HeaderError(f"{name} is set by Ignition and cannot be given under headers")
    headers.checked(value, name)
    if lower in _ADDRESS_FIELDS:
        mailboxes = [
            (display, headers.normal_address(address, name))
            for display, address in getaddresses([value])
        ]
        if not all(address.isascii() for _, address in mailboxes):
            raise HeaderError(f"{name} may hold ASCII addresses only, not {value!r}")
        return headers.address_field(name, mailboxes)
    if lower in _TOKEN_FIELDS or lower.startswith(("list-", "arc-", "dkim-")):
        return headers.token_field(name, value)
    return headers.text_field(name, value)


def _multipart(kind: str, number: bytes, parts: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The pieces of a multipart entity around those of its parts."""
    before, after, mark = _frame(kind)
    delimiter = mark + number + b"\r\n"
    pieces = [before, number, after]
    for each in parts:
        # The line break before a boundary belongs to the boundary (RFC 2046 section 5.1.1).
        pieces += delimiter, *each, b"\r\n"
    pieces.append(mark + number + b"--\r\n")
    return pieces


@cache
def _frame(kind: str) -> tuple[bytes, bytes, bytes]:
    """What stands before and after the message's number in a multipart's header; its delimiter."""
    # "=_" stands in no base64 and no quoted-printable text (RFC 2045 section 6.7), and nobody
    # else knows the id, so that no 7bit text can hold the boundary either.
    number = "0" * 32
    boundary = f"=_{kind}_"
    field = headers.mime_field("Content-Type", f"multipart/{kind}", {"boundary": boundary + number})
    before, _, after = field.partition(number.encode())
    return before, after + b"\r\n", f"--{boundary}".encode()
