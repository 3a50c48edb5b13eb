"""Signed checkpoints: the heads of the chains in a file that is kept elsewhere.

A third party needs the file and this page of rules only: the signature is Ed25519 over the
canonical JSON (:mod:`ignition_ext.audit.canonical`) of the document without ``signature``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select

from ignition_ext.audit.canonical import canonical, instant
from ignition_ext.audit.keys import (
    SigningKey,
    holds,
    key_id,
    parse_public,
    public_pem,
)
from ignition_ext.audit.log import HEADS, head_holds
from ignition_ext.database import Database
from ignition_ext.errors import AuditError
from ignition_ext.models import metadata
from ignition_ext.models.types import utc_now

DOCUMENT_TYPE = "ignition-audit-checkpoint"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointChain:
    """One chain as it was: its last row."""

    tenant: str
    tenant_id: int
    seq: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose signature holds."""

    created_at: str
    chains: tuple[CheckpointChain, ...]
    key: Ed25519PublicKey

    @property
    def key_id(self) -> str:
        return key_id(self.key)


async def make_checkpoint(database: Database, key: SigningKey) -> dict[str, Any]:
    """The heads of all chains as a signed JSON document.

    Raises:
        AuditError: a head is not signed by this node's key, so it would vouch for what it has
            not seen.
    """
    tenants = metadata.tables["tenant"]
    query = (
        select(HEADS, tenants.c.name)
        .join(tenants, tenants.c.id == HEADS.c.tenant_id)
        .where(HEADS.c.seq > 0)
        .order_by(tenants.c.name)
    )
    async with database.engine.connect() as connection:
        await connection.execution_options(ignition_read_only=True)
        heads = (await connection.execute(query)).all()
    for head in heads:
        if not head_holds(head, key):
            raise AuditError(
                f"the head of tenant {head.name!r}'s audit chain does not bear the signature of"
                f" the key {key.key_id}.",
                tenant=head.name,
                seq=head.seq,
                mend=f"Run: ignition audit verify --tenant {head.name}",
            )
    chains = [
        {"tenant": head.name, "tenant_id": head.tenant_id, "seq": head.seq, "hash": head.hash}
        for head in heads
    ]
    return sign_document(chains, key, utc_now())


def sign_document(
    chains: Sequence[dict[str, Any]], key: SigningKey, created_at: datetime
) -> dict[str, Any]:
    """The signed document for some chains."""
    document: dict[str, Any] = {
        "type": DOCUMENT_TYPE,
        "version": VERSION,
        "created_at": instant(created_at),
        "chains": list(chains),
        "key_id": key.key_id,
        "public_key": public_pem(key.public),
    }
    return {**document, "signature": key.sign(canonical(document))}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check its signature, without a database.

    Raises:
        AuditError: the file is not a checkpoint, or was changed since it was signed.
    """
    mend = "Give a file that `ignition audit export` wrote."
    try:
        document = json.loads(path.read_text())
        key = parse_public(document["public_key"])
        signature = document.pop("signature")
        chains = tuple(CheckpointChain(**chain) for chain in document["chains"])
        created_at = str(document["created_at"])
        known = (document["type"], document["version"]) == (DOCUMENT_TYPE, VERSION)
    except OSError as error:
        raise AuditError(f"{path} cannot be read: {error.strerror or error}.", mend=mend) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(f"{path} is not an audit checkpoint.", mend=mend) from error
    if not known:
        raise AuditError(f"{path} is of a kind that this release does not know.", mend=mend)
    if document["key_id"] != key_id(key) or not holds(key, signature, canonical(document)):
        raise AuditError(
            f"{path} was changed since it was signed.", mend="Take another copy of it."
        )
    return Checkpoint(created_at=created_at, chains=chains, key=key)
