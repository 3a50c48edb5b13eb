"""Loads the block that a campaign sends through, and says how to mend one that is not there."""

from __future__ import annotations

from blocks import SmppGateway, SmtpServer
from ignition_ext.orchestration.blocks import load_block
from ignition_ext.values import Channel


async def load_smtp_server(name: str) -> SmtpServer:
    """The SMTP server of that name, with its secrets.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: it cannot be read as one.
    """
    return await load_block(SmtpServer, name, Channel.EMAIL)


async def load_smpp_gateway(name: str) -> SmppGateway:
    """The SMPP gateway of that name, with its secrets.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: it cannot be read as one.
    """
    return await load_block(SmppGateway, name, Channel.SMS)
