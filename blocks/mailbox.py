"""The mailbox that bounces and complaints come back to, as an operator fills it in."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator

from ignition_ext.channels.imap import DEFAULT_PORTS, ImapMailbox, ImapOptions, MailboxOffer


class BounceMailbox(Block):
    """
    A mailbox, read over IMAP, that bounces and complaints come back to.

    Attributes:
        host: Name or address of the IMAP server.
        port: TCP port; without one 993 or 143, by security.
        security: "tls", "starttls" or "none".
        verify: Whether the server's certificate is checked.
        username: Login name.
        password: Password for the login.
        folder: Folder that the mails lie in.
        processed_folder: Folder that they are moved to.

    Example:
        Load a stored mailbox and ask it what lies there, without taking anything:
        ```python
        from blocks import BounceMailbox

        mailbox = BounceMailbox.load("BLOCK_NAME")
        print(await mailbox.check())
        ```
    """

    # A validation error must not quote the password.
    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "Ignition Bounce Mailbox"
    _block_type_slug = "ignition-bounce-mailbox"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    host: str = Field(
        min_length=1,
        title="Host",
        description="Name or address of the IMAP server, such as imap.example.com.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        title="Port",
        description="TCP port. When empty 993 for tls, 143 for starttls and none.",
    )
    security: Literal["tls", "starttls", "none"] = Field(
        default="tls",
        title="Security",
        description="tls is encrypted from the first byte, starttls begins in the clear and"
        " insists on the upgrade, none is never encrypted: the password can then be read on the"
        " way.",
    )
    verify: bool = Field(
        default=True,
        title="Verify certificate",
        description="Check that the certificate is trusted and made out for this host. Switched"
        " off, anyone on the way can pose as the server.",
    )
    username: str = Field(
        min_length=1,
        title="User name",
        description="Login name, often the whole address, such as bounces@mail.example.com.",
    )
    password: SecretStr = Field(
        title="Password",
        description="Password that belongs to the user name; many providers want an app password.",
    )
    folder: str = Field(
        default="INBOX",
        min_length=1,
        title="Folder",
        description="Folder that the mails lie in. Everything in it is taken for a bounce or"
        " complaint, so give it a mailbox of its own.",
    )
    processed_folder: str = Field(
        default="Processed",
        title="Processed folder",
        description="Folder that mails are moved to when they are stored; made when missing. When"
        " empty they stay where they are, with the flag IgnitionTaken.",
    )
    timeout: float = Field(
        default=60,
        gt=0,
        title="Timeout",
        description="Seconds to wait for the server's answer to one command.",
    )

    @field_validator("host", "username", "folder", "processed_folder", mode="before")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        value = value.strip()
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
            raise ValueError("holds a line break or control character; write it on one line")
        return value

    @field_validator("host")
    @classmethod
    def _bare_name(cls, value: str) -> str:
        if any(mark in value for mark in "/@ "):
            raise ValueError(f"{value!r} is not a host name; write imap.example.com, without more")
        return value

    def options(self) -> ImapOptions:
        """The block's fields, with the port that goes with its security."""
        return ImapOptions(
            host=self.host,
            port=self.port or DEFAULT_PORTS[self.security],
            security=self.security,
            verify=self.verify,
            username=self.username,
            password=self.password.get_secret_value(),
            folder=self.folder,
            processed_folder=self.processed_folder,
            timeout=self.timeout,
        )

    async def check(self) -> MailboxOffer:
        """Ask the server what lies in the folder, without taking anything.

        Raises:
            ChannelError: what went wrong, where, and the mend.
        """
        return await asyncio.to_thread(self._look)

    def _look(self) -> MailboxOffer:
        with ImapMailbox(self.options()) as mailbox:
            return mailbox.offer()
