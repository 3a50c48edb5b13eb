"""The SMTP server that a campaign sends through, as an operator fills it in."""

from __future__ import annotations

from typing import Any, Literal, Self, TypedDict

from prefect.blocks.core import Block
from prefect_email import EmailServerCredentials
from prefect_email.credentials import SMTPServer as KnownServer
from prefect_email.credentials import SMTPType
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator

from ignition_ext.channels.smtp import ServerOffer, SmtpOptions, SmtpTransport
from ignition_ext.channels.smtp.options import DEFAULT_PORTS, Security

_MAX_BOUNCE_LOCAL = 21
"""Characters before the @ of a bounce address: of 64 a token takes 42 and its + one; a test holds
this against the token."""
_SECURITY_WORDS: dict[str, Security] = {
    "starttls": "starttls",
    "tls": "tls",
    "ssl": "tls",
    "ssl/tls": "tls",
    "smtps": "tls",
    "none": "none",
    "insecure": "none",
    "plain": "none",
}
_TYPES: dict[SMTPType, Security] = {
    SMTPType.SSL: "tls",
    SMTPType.STARTTLS: "starttls",
    SMTPType.INSECURE: "none",
}


class _Place(TypedDict):
    host: str
    port: int
    security: Security
    verify: bool


class SmtpServer(Block):
    """
    An SMTP server to send campaigns through, over persistent connections.

    Attributes:
        host: Name or address of the server.
        port: TCP port; without one 587, 465 or 25, by security.
        security: "starttls", "tls" or "none".
        verify: Whether the server's certificate is checked.
        username: Login name.
        password: Password for the login.
        credentials: An Email Server Credentials block; with an empty host it names the server.
        connections: Connections side by side.
        rate: Messages a second over all senders.
        pipelining: Whether commands go out together where the server allows it.
        connect_timeout: Seconds for connecting and logging in.
        command_timeout: Seconds for the reply to a command.
        final_reply_timeout: Seconds for the reply to a whole message.
        helo: Name that we introduce ourselves with.
        envelope_from: Address that bounces go to.
        bounce_address: The same, with a token for each message.

    Example:
        Load a stored server and ask it what it offers, without sending:
        ```python
        from blocks import SmtpServer

        server = SmtpServer.load("BLOCK_NAME")
        print(await server.check())
        ```
    """

    # A validation error must not quote the password.
    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "Ignition SMTP Server"
    _block_type_slug = "ignition-smtp-server"
    # Prefect takes http addresses only, for the logo too: a data URI is refused, so there is none.
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    host: str = Field(
        default="",
        title="Host",
        description="Name or address of the server, such as smtp.example.com."
        " May be left empty when Credentials are given.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        title="Port",
        description="TCP port. When empty 587 for starttls, 465 for tls, 25 for none.",
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        title="Security",
        description="starttls begins in the clear and insists on the upgrade, tls is encrypted"
        " from the first byte, none is never encrypted: passwords and mails can then be read on"
        " the way.",
    )
    verify: bool = Field(
        default=True,
        title="Verify certificate",
        description="Check that the certificate is trusted and made out for this host. Switched"
        " off, anyone on the way can pose as the server.",
    )
    username: str | None = Field(
        default=None,
        title="User name",
        description="Login name. When empty no login is tried.",
    )
    password: SecretStr = Field(
        default=SecretStr(""),
        title="Password",
        description="Password that belongs to the user name. It is tried once a connection, so"
        " that a wrong one does not lock the account.",
    )
    credentials: EmailServerCredentials | None = Field(
        default=None,
        title="Credentials",
        description="An Email Server Credentials block of prefect-email. With an empty host it"
        " names the server, its security and its login; with a host filled in, the login only.",
    )
    connections: int = Field(
        default=10,
        ge=1,
        le=200,
        title="Connections",
        description="Connections that one sender keeps open side by side, 1 to 200. More are"
        " faster until the server refuses them.",
    )
    rate: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        allow_inf_nan=False,
        title="Rate",
        description="Messages a second that this server takes, over all campaigns and nodes"
        " together. When empty as fast as it answers.",
    )
    pipelining: bool = Field(
        default=True,
        title="Pipelining",
        description="Send commands together where the server announces PIPELINING, which is"
        " several times as fast. Switch it off for a server that announces it and cannot do it.",
    )
    connect_timeout: float = Field(
        default=30,
        gt=0,
        title="Connect timeout",
        description="Seconds for each step of connecting, encrypting and logging in.",
    )
    command_timeout: float = Field(
        default=300,
        gt=0,
        title="Command timeout",
        description="Seconds to wait for the reply to one command. Less than 300 gives up"
        " on servers that the mail standard allows to be slow.",
    )
    final_reply_timeout: float = Field(
        default=600,
        gt=0,
        title="Final reply timeout",
        description="Seconds to wait for the reply to a whole message. A message whose reply"
        " does not come in time counts as uncertain.",
    )
    helo: str | None = Field(
        default=None,
        title="HELO name",
        description="Name that we introduce ourselves with. When empty the machine's own;"
        " some servers want one that resolves in DNS.",
    )
    envelope_from: str | None = Field(
        default=None,
        title="Envelope sender",
        description="Address that bounces go to, such as bounces@example.com. When empty"
        " the address in the campaign's from.",
    )
    bounce_address: str | None = Field(
        default=None,
        title="Bounce address",
        description="Address that bounces go to with a token for each message, such as"
        " bounces@mail.example.com: each goes out from bounces+TOKEN@mail.example.com, so that"
        " what comes back is known by it. Its mailbox must take addresses with a +. When empty"
        " the Envelope sender.",
    )

    @field_validator("security", mode="before")
    @classmethod
    def _friendly_security(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        word = _SECURITY_WORDS.get(value.strip().lower())
        if word is None:
            raise ValueError(f"{value!r} is unknown; write starttls, tls or none")
        return word

    @field_validator("host", "helo", "username", "envelope_from", "bounce_address", mode="before")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        if value is None:
            return ""
        if not isinstance(value, str):
            return value
        value = value.strip()
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
            raise ValueError("holds a line break or control character; write it on one line")
        return value

    @field_validator("helo", "username", "envelope_from", "bounce_address")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("host", "helo")
    @classmethod
    def _bare_name(cls, value: str | None) -> str | None:
        if value and any(mark in value for mark in "/@ "):
            raise ValueError(f"{value!r} is not a host name; write smtp.example.com, without more")
        return value

    @field_validator("envelope_from", "bounce_address")
    @classmethod
    def _bare_address(cls, value: str | None) -> str | None:
        if value and ("@" not in value or any(mark in value for mark in "<> ")):
            raise ValueError(f"{value!r} is not a bare address; write bounces@example.com")
        return value

    @field_validator("bounce_address")
    @classmethod
    def _room_for_token(cls, value: str | None) -> str | None:
        local = (value or "").rpartition("@")[0]
        if value and not (value.isascii() and len(local) <= _MAX_BOUNCE_LOCAL):
            raise ValueError(
                f"{value!r} leaves no room for a token; use at most {_MAX_BOUNCE_LOCAL} plain"
                " characters before the @, such as bounces@mail.example.com"
            )
        return value

    @model_validator(mode="after")
    def _some_host(self) -> Self:
        if not self.host and self.credentials is None:
            raise ValueError("host is empty; fill it in, or choose Credentials")
        if self.password.get_secret_value() and self.username is None:
            raise ValueError("there is a password and no user name; fill in both or neither")
        return self

    def options(self, *, drain_seconds: float = 20) -> SmtpOptions:
        """The block's fields, completed from ``credentials``."""
        place = self._place()
        username, password = self._login()
        return SmtpOptions(
            **place,
            username=username,
            password=password,
            connections=self.connections,
            pipelining=self.pipelining,
            connect_timeout=self.connect_timeout,
            command_timeout=self.command_timeout,
            final_reply_timeout=self.final_reply_timeout,
            helo=self.helo,
            drain_timeout=drain_seconds,
        )

    def transport(self, *, drain_seconds: float = 20) -> SmtpTransport:
        """What sends through this server; opens no connection yet.

        Args:
            drain_seconds: how long replies are awaited for after a stop.
        """
        return SmtpTransport(self.options(drain_seconds=drain_seconds))

    async def check(self) -> ServerOffer:
        """Ask the server without sending: connect, EHLO, STARTTLS, AUTH, QUIT.

        Returns:
            The server's greeting, its extensions, the TLS version, and whether we are logged in.

        Raises:
            ChannelError: what went wrong, where, and the mend.
        """
        return await self.transport().check()

    def _place(self) -> _Place:
        """Where the server is: from here when the host is filled in, else from the credentials."""
        block = self.credentials
        if self.host or block is None:
            security, verify, host = self.security, self.verify, self.host
            port = self.port
        else:
            known = block.smtp_server
            host = known.value if isinstance(known, KnownServer) else known
            security = _TYPES[_smtp_type(block)]
            port, verify = self.port or block.smtp_port, block.verify is not False
        return _Place(
            host=host, port=port or DEFAULT_PORTS[security], security=security, verify=verify
        )

    def _login(self) -> tuple[str | None, str]:
        if self.username is not None or self.credentials is None:
            return self.username, self.password.get_secret_value()
        return self.credentials.username or None, self.credentials.password.get_secret_value()


def _smtp_type(block: EmailServerCredentials) -> SMTPType:
    kind = block.smtp_type
    return kind if isinstance(kind, SMTPType) else SMTPType[kind.upper()]
