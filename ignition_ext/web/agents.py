"""What kind of program asks: a person's, or a machine that fetches what nobody may ever look at.

Only the class is kept. Mailbox providers fetch images by proxies: Apple's Mail Privacy Protection
fetches all of them soon after delivery, Gmail's and Yahoo's when a message is looked at, so that
neither tells where or on what it was opened. Security gateways follow links before delivery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum


class Agent(StrEnum):
    """The class of a program."""

    APPLE_PROXY = "apple_proxy"
    GMAIL_PROXY = "gmail_proxy"
    YAHOO_PROXY = "yahoo_proxy"
    PREFETCH = "prefetch"
    SCANNER = "scanner"
    PHONE = "phone"
    DESKTOP = "desktop"
    OTHER = "other"

    @property
    def is_proxy(self) -> bool:
        """Whether a machine asks, so that somebody or nobody may have looked."""
        return self not in (Agent.PHONE, Agent.DESKTOP, Agent.OTHER)


_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_SCANNERS = re.compile(
    r"bot\b|crawl|spider|scan|preview|headless|monitor|barracuda|proofpoint|mimecast|symantec"
    r"|trendmicro|forcepoint|fireeye|python|curl/|wget/|go-http-client|java/|okhttp|libwww|axios",
    re.IGNORECASE,
)
_PHONES = re.compile(r"iphone|ipad|android|mobile", re.IGNORECASE)


def classify(headers: Mapping[str, str]) -> Agent:
    """The class of the program that sent these headers (names in lower case)."""
    name = headers.get("user-agent", "").strip()
    if any(re.search("prefetch|preview", headers.get(one, "")) for one in _PURPOSES):
        return Agent.PREFETCH
    if "GoogleImageProxy" in name:
        return Agent.GMAIL_PROXY
    if "YahooMailProxy" in name:
        return Agent.YAHOO_PROXY
    if name == "Mozilla/5.0":  # all that Apple's proxy says of itself
        return Agent.APPLE_PROXY
    if not name or _SCANNERS.search(name):
        return Agent.SCANNER
    if _PHONES.search(name):
        return Agent.PHONE
    return Agent.DESKTOP if name.startswith(("Mozilla/", "Opera/")) else Agent.OTHER
