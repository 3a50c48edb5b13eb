"""The mailboxes of bounces, as blocks on the Prefect server name them."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from ignition_ext.channels.imap import ImapOptions
from ignition_ext.errors import ConfigurationError, NotFoundError
from ignition_ext.orchestration.blocks import block_classes
from ignition_ext.orchestration.client import prefect_client

SLUG = "ignition-bounce-mailbox"
"""A test holds it against the class."""
MOST_MAILBOXES = 200
"""What Prefect gives in one answer; an installation has a handful."""


async def mailbox_names() -> Sequence[str]:
    """All mailboxes on the server."""
    async with prefect_client() as client:
        return sorted(document.name or "" for document in await _documents(client))


async def mailbox_options(name: str) -> ImapOptions:
    """Where a mailbox is, with its password.

    Raises:
        NotFoundError: there is none of that name.
        ConfigurationError: it cannot be read as one.
    """
    kind = next(cls for cls in block_classes() if cls.get_block_type_slug() == SLUG)
    async with prefect_client() as client:
        if name not in {document.name for document in await _documents(client)}:
            raise NotFoundError(
                f"there is no block {SLUG}/{name} on the Prefect server.",
                mend=f"Create it in the UI under Blocks (type {SLUG}), name {name}.",
            )
        try:
            block = await kind.aload(name, client=client)
        except (ValidationError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"the block {SLUG}/{name} cannot be read: {type(error).__name__}.",
                mend="Open it in the UI under Blocks, correct it and save it.",
            ) from error
    options = block.options()  # type: ignore[attr-defined]  # its class is loaded by entry point
    assert isinstance(options, ImapOptions)
    return options


async def _documents(client: PrefectClient) -> Sequence[BlockDocument]:
    try:
        await client.read_block_type_by_slug(SLUG)
    except ObjectNotFound:
        return []
    return await client.read_block_documents_by_type(
        SLUG, limit=MOST_MAILBOXES, include_secrets=False
    )
