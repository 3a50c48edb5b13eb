"""Finds the database that an SQL audience names."""

from __future__ import annotations

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import BlockDocument
from pydantic import Secret as PydanticSecret
from pydantic import SecretStr

from ignition_ext.errors import ConfigurationError, NotFoundError

URL_FIELDS = ("url", "connection_info", "connection_url", "dsn", "uri", "value")
"""Where blocks keep a database's URL; ``value`` is that of Prefect's Secret."""


async def resolve_database(name: str) -> str:
    """The URL in a block that holds a database's URL: ``name``, or ``type-slug/name``.

    Raises:
        NotFoundError: there is no such block.
        ConfigurationError: it holds no URL, or several blocks bear that name.
    """
    slug, _, short = name.rpartition("/")
    async with get_client() as client:
        documents = [
            document
            for document in await client.read_block_documents(limit=200, include_secrets=False)
            if document.name == short
            and document.block_type is not None
            and (not slug or document.block_type.slug == slug)
        ]
    if not documents:
        raise NotFoundError(
            f"there is no block {name} on the Prefect server.",
            mend=f"Create one of type Secret named {short}, with the database's URL.",
        )
    if len(documents) > 1:
        found = ", ".join(_slug(document) for document in documents)
        raise ConfigurationError(
            f"several blocks are called {short}: {found}.",
            mend="Write its type too under audience.block.",
        )
    return await _url(_slug(documents[0]))


def _slug(document: BlockDocument) -> str:
    assert document.block_type is not None
    return f"{document.block_type.slug}/{document.name}"


async def _url(slug: str) -> str:
    block = await Block.aload(slug)
    for field in URL_FIELDS:
        value = getattr(block, field, None)
        if isinstance(value, SecretStr | PydanticSecret):  # the latter is Prefect's own Secret
            value = value.get_secret_value()
        if value is not None and "://" in str(value):
            return str(value)
    raise ConfigurationError(
        f"the block {slug} holds no database URL.",
        mend=f"Use a block of type Secret, or one with a field {' or '.join(URL_FIELDS[:3])}.",
    )
