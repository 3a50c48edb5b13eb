"""The values that go into and come out of the SMTP channel."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ignition_ext.values import MessageId

Security = Literal["starttls", "tls", "none"]

DEFAULT_PORTS: Mapping[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
"""Submission (RFC 6409), submission over TLS (RFC 8314 section 7.3) and plain SMTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpOptions:
    """How to reach one SMTP server, and how patient to be with it.

    Attributes:
        security: ``starttls`` insists on the upgrade (a server that does not offer it is
            refused), ``tls`` speaks TLS from the first byte, ``none`` never encrypts.
        verify: False accepts any certificate for any name; the link can then be read and changed.
        tls_context: overrides ``verify`` and the system's authorities, for private ones.
        connections: how many connections work side by side.
        pipelining: MAIL, RCPT and DATA may be written together where the server announces it
            (RFC 2920), and two messages may be under way on a connection; one by one elsewhere.
        connect_timeout: seconds for the connection, greeting, EHLO, STARTTLS and AUTH, each.
        command_timeout: seconds for each reply to MAIL, RCPT and DATA, and for each stall of the
            body; RFC 5321 section 4.5.3.2 asks for five minutes.
        final_reply_timeout: seconds for the reply to the final dot; ten minutes in RFC 5321
            section 4.5.3.2.6, because giving up early makes duplicates.
        helo: the name that we introduce ourselves with; None for the machine's.
        drain_timeout: seconds that replies are awaited for after a stop.
        reconnect_attempts: sessions in a row, over all connections, that may end without a single
            judged message before the server is given up.
        reconnect_base: seconds before the second session of such a row; doubles, with jitter.
        reconnect_max: the longest such wait, in seconds.
    """

    host: str
    port: int
    security: Security = "starttls"
    verify: bool = True
    username: str | None = None
    password: str = field(default="", repr=False)
    connections: int = 10
    pipelining: bool = True
    connect_timeout: float = 30
    command_timeout: float = 300
    final_reply_timeout: float = 600
    helo: str | None = None
    drain_timeout: float = 20
    reconnect_attempts: int = 8
    reconnect_base: float = 0.25
    reconnect_max: float = 3
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def server(self) -> str:
        """``host:port``, as messages name the server."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailEnvelope:
    """One message for one recipient, ready for the wire.

    Attributes:
        content: headers and body with CRLF line ends, not yet dot-stuffed.
        smtputf8: an address in envelope or header has a non-ASCII local part (RFC 6531).
    """

    message_id: MessageId
    envelope_from: str
    recipient: str
    content: bytes
    smtputf8: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOffer:
    """What a server said of itself, once connected.

    Attributes:
        extensions: EHLO keywords in capitals with their parameters: ``{"SIZE": "35882577"}``.
        tls: protocol and cipher, ``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty without TLS.
        authenticated: whether a login was asked for and accepted.
    """

    server: str
    greeting: str
    extensions: Mapping[str, str]
    tls: str
    authenticated: bool

    def offers(self, keyword: str) -> bool:
        """Whether EHLO announced this keyword (in capitals)."""
        return keyword in self.extensions

    @property
    def size_limit(self) -> int:
        """Octets a message may have (RFC 1870); 0 when the server names no limit."""
        value = self.extensions.get("SIZE", "")
        return int(value) if value.isascii() and value.isdigit() else 0
