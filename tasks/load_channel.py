"""Loads the block that a campaign sends through, and says how to mend one that is not there."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import httpx
from prefect import get_run_logger
from prefect.blocks.core import Block

from blocks import SmppGateway, SmtpServer
from ignition_ext.orchestration.blocks import load_block
from ignition_ext.values import Channel

BlockT = TypeVar("BlockT", bound=Block)
ANSWER_SECONDS = 5.0
"""The client tries again for a minute; between two batches the sending must not wait so long."""
_known: dict[tuple[type[Block], str], Block] = {}
"""What this process has loaded: a run goes on with it while the Prefect server is away."""


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


async def _load(kind: type[BlockT], name: str, channel: Channel) -> BlockT:
    known = _known.get((kind, name))
    try:
        async with asyncio.timeout(None if known is None else ANSWER_SECONDS):
            block = await load_block(kind, name, channel)
    except (httpx.HTTPError, OSError) as error:  # a TimeoutError is an OSError
        if not isinstance(known, kind):
            raise
        get_run_logger().warning("the block %s is used as it was read before: %r", name, error)
        return known
    _known[kind, name] = block
    return block
