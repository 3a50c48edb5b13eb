"""Blocks as the server knows them. Their classes are loaded by entry point, never imported."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from inspect import getmembers, isclass
from types import ModuleType
from typing import TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from ignition_ext.errors import ConfigurationError, NotFoundError
from ignition_ext.values import Channel

BlockT = TypeVar("BlockT", bound=Block)

ENTRY_POINTS = "prefect.collections"
DISTRIBUTION = "prefect-ignition"
BLOCK_SLUGS = {Channel.EMAIL: "ignition-smtp-server", Channel.SMS: "ignition-smpp-gateway"}
"""The block type that a channel's campaigns need; a test holds them against the classes."""


def block_classes() -> Sequence[type[Block]]:
    """Ignition's block classes, as the entry points of the installed distribution give them.

    Raises:
        ConfigurationError: an entry point does not load, or there is none.
    """
    found: dict[str, type[Block]] = {}
    for entry_point in entry_points(group=ENTRY_POINTS):
        if entry_point.dist is None or entry_point.dist.name != DISTRIBUTION:
            continue
        try:
            loaded = entry_point.load()
        except Exception as error:
            raise ConfigurationError(
                f"the entry point {entry_point.name} = {entry_point.value} does not load:"
                f" {type(error).__name__}: {error}",
                mend=f"Install {DISTRIBUTION} again; `ignition doctor` checks its parts.",
            ) from error
        if isinstance(loaded, ModuleType):
            found |= {cls.get_block_type_slug(): cls for _, cls in getmembers(loaded, _is_ours)}
    if not found:
        raise ConfigurationError(
            f"no blocks are registered under the entry points {ENTRY_POINTS!r}.",
            mend=f"Install {DISTRIBUTION} into this environment (pip install -e . in a checkout).",
        )
    return [found[slug] for slug in sorted(found)]


def _is_ours(member: object) -> bool:
    return (
        isclass(member)
        and issubclass(member, Block)
        and member.__module__.split(".")[0] == "blocks"
    )


async def find_block(client: PrefectClient, name: str, channel: Channel) -> BlockDocument:
    """The block document that a campaign names; its secrets are not read.

    Raises:
        NotFoundError: there is none of that name and type.
    """
    slug = BLOCK_SLUGS[channel]
    try:
        return await client.read_block_document_by_name(name, slug, include_secrets=False)
    except ObjectNotFound as error:
        others = sorted(
            {
                document.block_type.slug
                for document in await client.read_block_documents(limit=200, include_secrets=False)
                if document.name == name and document.block_type is not None
            }
        )
        but = f"; there is one of type {', '.join(others)}" if others else ""
        raise NotFoundError(
            f"there is no block {slug}/{name} on the Prefect server{but}.",
            mend=f"Create it in the UI under Blocks (type {slug}), name {name}.",
        ) from error


def channel_class(channel: Channel) -> type[Block]:
    """The class of the blocks that a channel's campaigns send through.

    Raises:
        ConfigurationError: an entry point does not load.
    """
    slug = BLOCK_SLUGS[channel]
    return next(cls for cls in block_classes() if cls.get_block_type_slug() == slug)


async def load_block(kind: type[BlockT], name: str, channel: Channel) -> BlockT:
    """The block of that name, with its secrets.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: it cannot be read as one.
    """
    try:
        block = await kind.aload(name)
    except (ValueError, RuntimeError) as error:
        async with get_client() as client:
            await find_block(client, name, channel)  # Prefect has one error for all reasons
        raise ConfigurationError(
            f"the block {kind.get_block_type_slug()}/{name} cannot be read: {_wrong(error)}",
            mend="Open it in the UI under Blocks, correct it and save it.",
        ) from error
    assert isinstance(block, kind)
    return block


def _wrong(error: Exception) -> str:
    """The fields that are wrong; Prefect's text names arguments that nobody can pass here."""
    cause = error if isinstance(error, ValidationError) else error.__cause__
    if not isinstance(cause, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, details['loc'])) or 'all'}: {details['msg']}"
        for details in cause.errors(include_url=False, include_input=False)
    )
