"""Locales and time zones of recipients, checked once for each spelling."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.core import Locale, UnknownLocaleError

SPELLINGS = 2048
"""Verdicts kept: there are some 800 locales and 600 zones."""


@lru_cache(maxsize=SPELLINGS)
def normalise_locale(text: str) -> str | None:
    """A BCP 47 tag (RFC 5646) such as ``pt-BR`` that Babel has data for, else None."""
    try:
        found = Locale.parse(text.strip().replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError, TypeError):
        return None
    parts = (found.language, found.script, found.territory)
    return "-".join(part for part in parts if part)


@lru_cache(maxsize=SPELLINGS)
def normalise_timezone(text: str) -> str | None:
    """An IANA zone's name as the zone database spells it, else None."""
    name = text.strip()
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return name
