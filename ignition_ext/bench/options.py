"""What a benchmark is asked to do, and what one process tells another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ignition_ext.errors import ConfigurationError
from ignition_ext.values import Channel

Security = Literal["none", "starttls", "tls"]
Say = Callable[[str], None]
"""Tells a person how far it is."""
SYSTEM_ID = "bench"
"""Who we are to an SMSC; it fits SMPP's 15 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_target(text: str) -> Address:
    """``HOST:PORT`` as an address; IPv6 in brackets.

    Raises:
        ConfigurationError: it is not written so.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigurationError(
            f"the target {text!r} is no address.", mend="Write HOST:PORT, such as 127.0.0.1:2525."
        )
    return Address(host=host, port=int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """One benchmark of sending.

    Attributes:
        messages: recipients of each run.
        target: a server to send to; None starts a sink.
        database: its URL; None makes a temporary SQLite file.
        connections: SMTP connections side by side.
        window: unanswered submit_sm a bind.
        binds: SMPP sessions side by side.
        null: no server at all, everything else.
        security: of the SMTP connections; certificates are not checked.
        delay_ms: how late the SMSC sink answers.
        repeat: rounds; the figures are their medians.
        peer_seconds: about how long each peer sends in a round; 0 for no peers.
        batch: messages of one task; None for a campaign's default.
    """

    channel: Channel
    messages: int
    target: Address | None = None
    database: str | None = None
    connections: int = 10
    window: int = 50
    binds: int = 1
    null: bool = False
    security: Security = "none"
    delay_ms: float = 0
    system_id: str = SYSTEM_ID
    password: str = ""
    repeat: int = 1
    peer_seconds: float = 3.0
    batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOptions:
    """One benchmark of the ledger by itself.

    Attributes:
        messages: claimed, intended and settled, ``batch`` at a time.
        turns: small groups that are settled while as many others are intended.
    """

    messages: int
    database: str | None = None
    batch: int = 1000
    turns: int = 200
    repeat: int = 1
