"""Email addresses: checked by email-validator without DNS, and written in one way.

One mailbox, one spelling, because the ledger and suppression lists compare text: the whole address
is lower-cased and the domain is ASCII (IDNA A-labels, RFC 5890), so that ``Joe@BÜCHER.example`` and
``joe@xn--bcher-kva.example`` are one. RFC 5321 section 2.4 lets a server tell ``Joe`` from ``joe``;
none in use does, whereas a person on a suppression list must stay on it however the next file
spells the address.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

_PLAIN_LOCAL = re.compile(r"[a-z0-9_+\-]{1,64}(?:\.[a-z0-9_+\-]{1,63})*", re.ASCII)
MAX_LOCAL = 64
"""RFC 5321 section 4.5.3.1.1."""
MAX_ADDRESS = 254
"""RFC 5321 section 4.5.3.1.3: a path of 256 octets, less its angle brackets."""
DOMAIN_CACHE = 8192
"""Verdicts on domains kept: an audience of a million has some thousands, most mail to ten."""


class EmailProblem(ValueError):
    """An address cannot be written to; the text says why."""


def _library(text: str) -> tuple[str, str]:
    try:
        found = validate_email(text, check_deliverability=False)
    except EmailNotValidError as error:
        raise EmailProblem(str(error)) from error
    # The library allows more unless it is strict, which older releases cannot be.
    if len(found.local_part.encode()) > MAX_LOCAL:
        raise EmailProblem(f"There are more than {MAX_LOCAL} bytes before the @-sign.")
    return found.local_part, found.ascii_domain.lower()


@lru_cache(maxsize=DOMAIN_CACHE)
def _domain(text: str) -> str | None:
    """The ASCII form of a domain that the library accepts, else None."""
    try:
        return _library(f"a@{text}")[1]
    except EmailProblem:
        return None


def _through_library(text: str) -> str:
    local, domain = _library(text)
    lowered = unicodedata.normalize("NFC", local.lower())
    if lowered != local:
        local, domain = _library(f"{lowered}@{domain}")
        local = unicodedata.normalize("NFC", local.lower())
    return f"{local}@{domain}"


def normalise_email(text: str) -> str:
    """The one spelling of an address.

    Plain ASCII addresses take a short way that looks only at the domain (cached) and the local
    part; everything else goes through the library.

    Raises:
        EmailProblem: nothing can be sent there.
    """
    text = text.strip()
    lowered = text.lower()
    local, at, domain = lowered.rpartition("@")
    if at and len(local) <= MAX_LOCAL and _PLAIN_LOCAL.fullmatch(local) and text.isascii():
        checked = _domain(domain)
        if checked is not None and len(local) + 1 + len(checked) <= MAX_ADDRESS:
            return f"{local}@{checked}"
    return _through_library(text)
