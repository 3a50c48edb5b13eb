"""A rendered message as the bytes that go on the wire (RFC 5322, RFC 2045 to 2049).

What is the same for all recipients (sender, headers, attachments) is built once; a message is then
put together from the parts that are its own. The tests hold what parsers of others read out of it
against what went in.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, getaddresses
from hashlib import sha256
from typing import Protocol
from urllib.parse import unquote

from ignition_ext.errors import ConfigurationError, TemplateError
from ignition_ext.templates import mime_headers as headers
from ignition_ext.templates.attachments import Attachment, base64_lines, check_total, part
from ignition_ext.templates.mime_headers import HeaderError
from ignition_ext.values import MessageId

_OWN_FIELDS = frozenset({"from", "to", "cc", "bcc", "subject", "date", "message-id"})
_ADDRESS_FIELDS = frozenset(
    {"reply-to", "sender", "mail-followup-to", "disposition-notification-to"}
)
_TOKEN_FIELDS = frozenset(
    {"references", "in-reply-to", "precedence", "auto-submitted", "feedback-id", "return-path"}
)
# 998 octets and the CR.
_LONG_LINE = re.compile(rb"[^\n]{1000,}")
# Where HTML names a resource: an attribute, or url(…) in a style.
_CID = re.compile(
    r"""((?:\b(?:src|background|href|poster|data)\s*=|\burl\()\s*["']?)cid:([^"'\s)>]+)""",
    re.IGNORECASE,
)


class Rendered(Protocol):
    """What rendering yields: the shape of ``RenderedEmail``."""

    @property
    def subject(self) -> str:
        """One line."""
        ...

    @property
    def html(self) -> str | None:
        """None for a message of text only."""
        ...

    @property
    def text(self) -> str:
        """Always there."""
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
        message_id_domain: the right side of Message-ID.
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
        message_id_domain: str,
        envelope_from: str | None = None,
    ) -> None:
        check_total([*attachments, *inline])
        try:
            self._set_sender(sender, envelope_from)
            self._domain = _domain(message_id_domain)
            self._fields = _constant_fields(headers)
        except HeaderError as error:
            raise ConfigurationError(
                f"{error}.", mend="Correct from and headers in the campaign file."
            ) from error
        self._attachments = [part(attachment) for attachment in attachments]
        self._inline = {
            image.name: (cid := self._content_id(image), part(image, content_id=cid))
            for image in inline
        }

    def _set_sender(self, sender: str, envelope_from: str | None) -> None:
        name, address = headers.address_of(sender, "From")
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
    ) -> ComposedEmail:
        """The bytes for one recipient; the same arguments give the same bytes.

        Raises:
            TemplateError: subject, name or address hold a line break or are otherwise unfit, or
                the HTML names an image that is not there. It concerns this recipient only.
        """
        try:
            recipient = headers.normal_address(address, "the recipient's address")
            fields = [
                self._from,
                headers.address_field("To", [(name, recipient)]),
                headers.text_field("Subject", rendered.subject.strip(" ")),
                f"Date: {format_datetime(date)}\r\n".encode(),
                f"Message-ID: <{message_id}@{self._domain}>\r\n".encode(),
                self._fields,
                b"MIME-Version: 1.0\r\n",
            ]
            body = self._body(message_id, rendered)
        except (HeaderError, UnicodeEncodeError) as error:
            raise TemplateError(
                f"{error}", mend="Correct the recipient's data or the template."
            ) from error
        return ComposedEmail(
            content=b"".join([*fields, body]),
            envelope_from=self._envelope_from,
            recipient=recipient,
            smtputf8=self._sender_utf8 or not recipient.isascii(),
        )

    def _body(self, message_id: MessageId, rendered: Rendered) -> bytes:
        """mixed(related(alternative(text, html), images), files), each level only where needed."""
        entity = _text("plain", rendered.text)
        if rendered.html is not None:
            html, images = self._with_images(rendered.html)
            entity = _multipart("alternative", message_id, [entity, _text("html", html)])
            if images:
                entity = _multipart("related", message_id, [entity, *images])
        if self._attachments:
            entity = _multipart("mixed", message_id, [entity, *self._attachments])
        return entity

    def _with_images(self, html: str) -> tuple[str, list[bytes]]:
        """The HTML with its references resolved, and the parts that it refers to."""
        used: dict[str, bytes] = {}

        def resolve(match: re.Match[str]) -> str:
            name = unquote(match[2])
            if name not in self._inline:
                known = ", ".join(sorted(self._inline)) or "none"
                raise TemplateError(
                    f"the HTML shows cid:{name}, and the inline images are: {known}",
                    mend="Add the image to the template's folder, or correct the name.",
                )
            content_id, used[name] = self._inline[name]
            return f"{match[1]}cid:{content_id}"

        return _CID.sub(resolve, html), list(used.values())


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


def _multipart(kind: str, message_id: MessageId, parts: Sequence[bytes]) -> bytes:
    # "=_" stands in no base64 and no quoted-printable text (RFC 2045 section 6.7), and nobody
    # else knows the id, so that no 7bit text can hold the boundary either.
    boundary = f"=_{kind}_{message_id.hex}"
    mark = f"--{boundary}".encode()
    return b"".join(
        [
            headers.mime_field("Content-Type", f"multipart/{kind}", {"boundary": boundary}),
            b"\r\n",
            # The line break before a boundary belongs to the boundary (RFC 2046 section 5.1.1).
            *(mark + b"\r\n" + each + b"\r\n" for each in parts),
            mark + b"--\r\n",
        ]
    )


def _text(kind: str, text: str) -> bytes:
    """A text part in the encoding that costs least: 7bit, quoted-printable or base64."""
    octets = "\r\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")).encode()
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    charset, encoding, body = "utf-8", "quoted-printable", b""
    if octets.isascii() and b"\0" not in octets and not _LONG_LINE.search(octets):
        charset, encoding, body = "us-ascii", "7bit", octets
    else:
        body = binascii.b2a_qp(octets, istext=True)
        encoded = base64_lines(octets)
        if len(encoded) < len(body):
            encoding, body = "base64", encoded
    return (
        f'Content-Type: text/{kind}; charset="{charset}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode() + body
