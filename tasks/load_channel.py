"""Loads the block that a campaign sends through, and says how to mend one that is not there."""

from __future__ import annotations

from typing import TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from pydantic import ValidationError

from blocks import SmppGateway, SmtpServer
from ignition_ext.errors import ConfigurationError
from ignition_ext.orchestration.blocks import find_block
from ignition_ext.values import Channel

BlockT = TypeVar("BlockT", bound=Block)


async def load_smtp_server(name: str) -> SmtpServer:
    """The SMTP server of that name, with its secrets.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: it cannot be read as one.
    """
    return await _load(SmtpServer, name, Channel.EMAIL)


async def load_smpp_gateway(name: str) -> SmppGateway:
    """The SMPP gateway of that name, with its secrets.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: it cannot be read as one.
    """
    return await _load(SmppGateway, name, Channel.SMS)


def _wrong(error: Exception) -> str:
    """The fields that are wrong; Prefect's text names arguments that nobody can pass here."""
    cause = error if isinstance(error, ValidationError) else error.__cause__
    if not isinstance(cause, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, details['loc'])) or 'all'}: {details['msg']}"
        for details in cause.errors(include_url=False, include_input=False)
    )


async def _load(kind: type[BlockT], name: str, channel: Channel) -> BlockT:
    async with get_client() as client:
        await find_block(client, name, channel)
    try:
        block = await kind.aload(name)
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"the block {kind.get_block_type_slug()}/{name} cannot be read: {_wrong(error)}",
            mend="Open it in the UI under Blocks, correct it and save it.",
        ) from error
    assert isinstance(block, kind)
    return block
