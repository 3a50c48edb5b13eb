"""Who a campaign's messages come from, and the headers it may add: checked before any is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import getaddresses

from email_validator import EmailNotValidError, validate_email

MAX_HEADER = 998
"""RFC 5322 section 2.1.1: no line may be longer, and some servers refuse folded ones."""

OWN_HEADERS = frozenset(
    {"bcc", "cc", "date", "from", "message-id", "mime-version", "received", "resent-to"}
    | {"content-disposition", "content-id", "content-transfer-encoding", "content-type"}
    | {"return-path", "sender", "subject", "to"}
)
"""Written by Ignition for each message; a second one would contradict it (RFC 5322 section 3.6)."""

_FIELD_NAME = re.compile(r"^[!-9;-~]{1,76}$")  # RFC 5322 section 3.6.8: printable, no colon
_HOST = re.compile(
    r"^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$", re.I
)
_LINE_BREAK = re.compile(r"[\r\n\0]")
_NUMBER = re.compile(r"^\+?[0-9]{3,15}$")
_ALPHANUMERIC = re.compile(r"^[A-Za-z0-9 &._-]{1,11}$")
"""GSM 03.40 section 9.1.2.5: 11 characters of 7 bits; only those that operators let through."""


def check_email_sender(value: str) -> str:
    """A mailbox with or without a name, as in ``Acme <news@example.com>``.

    Raises:
        ValueError: it is none, is more than one, or holds a line break.
    """
    if _LINE_BREAK.search(value):
        raise ValueError("the sender holds a line break")
    mailboxes = getaddresses([value])
    if len(mailboxes) != 1:
        raise ValueError(f"{value!r} is not one mailbox; write: Acme <news@example.com>")
    address = mailboxes[0][1]
    local, _, domain = address.rpartition("@")
    if _HOST.match(domain):
        # Mail inside of a company goes by names such as corp.local, which the library refuses.
        address = f"{local}@host.example"
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(f"{value!r} is not a mailbox: {error}") from error
    return value


def check_sms_sender(value: str) -> str:
    """A sender id: a number or short code, or up to 11 letters and digits.

    Raises:
        ValueError: it is neither.
    """
    if not (_NUMBER.match(value) or _ALPHANUMERIC.match(value)):
        raise ValueError(
            f"{value!r} is not a sender id; write a number (+491701234567), a short code"
            " or up to 11 letters and digits"
        )
    return value


def check_headers(headers: Mapping[str, str]) -> None:
    """Check names and values of added headers (RFC 5322 section 2.2).

    Raises:
        ValueError: a name is malformed or Ignition's own, a value holds a line break.
    """
    for name, text in headers.items():
        if not _FIELD_NAME.match(name):
            raise ValueError(f"{name!r} is not a header's name")
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"{name} is written by Ignition itself")
        if _LINE_BREAK.search(text):
            raise ValueError(f"{name} holds a line break")
        if len(name) + 2 + len(text) > MAX_HEADER:
            raise ValueError(f"{name} is longer than {MAX_HEADER} characters")
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("a header stands twice, in different case")
