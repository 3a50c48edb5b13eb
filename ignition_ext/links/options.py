"""What installation and tenant say about links, checked when it is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email

from ignition_ext.errors import ConfigurationError

WEB_URL = "web.url"
"""The tenant's own public address of `ignition web`; goes before the installation's."""
ONE_CLICK = "unsubscribe.one_click"
"""Whether the tenant's emails bear List-Unsubscribe, where the campaign does not say it."""
MAILTO = "unsubscribe.mailto"
"""The mailbox that is named in List-Unsubscribe besides."""
TRACK_OPENS, TRACK_CLICKS = "tracking.opens", "tracking.clicks"

URL_LENGTH = 200
"""What is left of the 998 octets of a header's line must hold a token with an address of 320."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def checked_web_url(value: Any, name: str = WEB_URL) -> str:
    """The public address without a slash at its end.

    Raises:
        ConfigurationError: links cannot begin with it.
    """
    text = value.rstrip("/") if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        host, port_is_right = "", False
    is_safe = text.startswith("https://") or (text.startswith("http://") and host in _LOOPBACK)
    if (
        not (host and port_is_right and text.isascii() and text.isprintable())
        or len(text) > URL_LENGTH
        or any(mark in text for mark in " <>\"',;?#@\\")
        or not is_safe
    ):
        raise ConfigurationError(
            f"{value!r} cannot be {name}.",
            mend="Give the public address of `ignition web`, such as https://mail.example.com:"
            " https (plain http on loopback only), without query or user, in ASCII.",
        )
    return text


def checked_mailto(value: Any, name: str = MAILTO) -> str:
    """A mailbox that can stand in a mailto: URI as it is.

    Raises:
        ConfigurationError: it is none.
    """
    mend = "Give an address such as unsubscribe@example.com."
    try:
        if not isinstance(value, str) or not value.isascii() or any(c in value for c in "%&?#/\"'"):
            raise ValueError
        return validate_email(value, check_deliverability=False).normalized
    except (EmailNotValidError, ValueError) as error:
        raise ConfigurationError(f"{value!r} cannot be {name}.", mend=mend) from error


def checked_switch(value: Any, name: str) -> bool:
    """True or false.

    Raises:
        ConfigurationError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{value!r} cannot be {name}.", mend="Give true or false.")
    return value


CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    WEB_URL: checked_web_url,
    MAILTO: checked_mailto,
    ONE_CLICK: checked_switch,
    TRACK_OPENS: checked_switch,
    TRACK_CLICKS: checked_switch,
}
"""How each of a tenant's settings about links is checked."""
