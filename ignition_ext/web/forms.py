"""What a POST says: a browser's form, or a mailbox provider's one-click (RFC 8058 section 3.2)."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from urllib.parse import parse_qs

MOST_FIELDS = 200
_ONE_CLICK = ("list-unsubscribe", "one-click")


def read_form(content_type: str, body: bytes) -> Mapping[str, Sequence[str]]:
    """The fields of a form, in either of the two forms that RFC 8058 lets a provider choose.

    What cannot be read has no fields.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            return _multipart(content_type, body)
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except (ValueError, LookupError):
        return {}


def is_one_click(form: Mapping[str, Sequence[str]]) -> bool:
    """Whether a mailbox provider asks for it, on behalf of the recipient."""
    return any(
        (name.lower(), value.strip().lower()) == _ONE_CLICK
        for name, values in form.items()
        for value in values
    )


def _multipart(content_type: str, body: bytes) -> Mapping[str, Sequence[str]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    fields: dict[str, list[str]] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        if isinstance(part, EmailMessage) and isinstance(name, str):
            payload = part.get_payload(decode=True)
            value = payload.decode() if isinstance(payload, bytes) else ""
            fields.setdefault(name, []).append(value)
    return fields
