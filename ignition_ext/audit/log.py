"""Appends to the audit log, inside the transaction of the change that it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Table, func, insert, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.audit.canonical import (
    GENESIS,
    AuditRow,
    head_statement,
    normalise,
    row_hash,
    row_statement,
)
from ignition_ext.audit.keys import SigningKey, holds, signing_key
from ignition_ext.audit.privacy import redact, redact_text
from ignition_ext.errors import AuditError
from ignition_ext.models.audit import AuditHead, AuditLog
from ignition_ext.models.types import utc_now

HEADS: Table = SQLModel.metadata.tables[str(AuditHead.__tablename__)]
ROWS: Table = SQLModel.metadata.tables[str(AuditLog.__tablename__)]

ACTOR_LENGTH, ACTION_LENGTH, SUBJECT_LENGTH = 200, 100, 300
"""The columns' lengths; longer text is cut, for no change may fail over its own description."""


async def record(
    session: AsyncSession,
    *,
    tenant_id: int,
    actor: str,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Append one row to the tenant's chain, in the caller's transaction.

    The head of the chain stays locked until that transaction ends, so record last: other writers
    of the same tenant wait. Email addresses and telephone numbers in ``subject``, ``before`` and
    ``after`` are replaced by marks; keep names of people out of them.

    Args:
        session: of ``Database.write()``.
        actor: who: ``cli:jane``, ``flow:<flow run id>``, ``api:<key id>``.
        action: what, in the past tense: ``campaign.applied``.
        subject: to which thing: ``campaign:welcome``.
        before: the changed fields as they were; None when the thing is new.
        after: the changed fields as they are; None when the thing is gone.

    Raises:
        ConfigurationError: this node has no key to sign with, and cannot make one.
        AuditError: the head of the chain was removed.
    """
    key = signing_key()
    await session.flush()
    connection = await session.connection()
    head = await _locked_head(connection, tenant_id)
    row = AuditRow(
        tenant_id=tenant_id,
        seq=head.seq + 1,
        at=utc_now(),
        actor=_line(actor, ACTOR_LENGTH),
        action=_line(action, ACTION_LENGTH),
        subject=_line(redact_text(subject), SUBJECT_LENGTH),
        before=None if before is None else redact(normalise(before)),
        after=None if after is None else redact(normalise(after)),
        previous_hash=head.hash,
    )
    digest = row_hash(row)
    await connection.execute(
        insert(ROWS).values(
            tenant_id=row.tenant_id,
            seq=row.seq,
            at=row.at,
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            before=null() if row.before is None else row.before,
            after=null() if row.after is None else row.after,
            previous_hash=row.previous_hash,
            hash=digest,
            signature=key.sign(row_statement(digest)),
            key_id=key.key_id,
        )
    )
    await _move_head(connection, head, row.seq, digest, key)


async def _locked_head(connection: AsyncConnection, tenant_id: int) -> Row[Any]:
    """The tenant's head, locked until the transaction ends; made when the chain is new."""
    query = select(HEADS).where(HEADS.c.tenant_id == tenant_id).with_for_update()
    head = (await connection.execute(query)).one_or_none()
    if head is not None:
        return head
    last = select(func.max(ROWS.c.seq)).where(ROWS.c.tenant_id == tenant_id)
    if (await connection.execute(last)).scalar_one() is not None:
        # Read again: the first row and its head may have been committed between the two looks.
        head = (await connection.execute(query)).one_or_none()
        if head is None:
            raise AuditError(
                f"the head of tenant {tenant_id}'s audit chain is missing.",
                mend="Run: ignition audit verify",
            )
        return head
    # Of two first writers the second waits here until the first has committed.
    await connection.execute(
        text(
            "INSERT INTO audit_head (tenant_id, seq, hash, signature, key_id)"
            " VALUES (:tenant_id, 0, :genesis, '', '') ON CONFLICT (tenant_id) DO NOTHING"
        ),
        {"tenant_id": tenant_id, "genesis": GENESIS},
    )
    return (await connection.execute(query)).one()


async def _move_head(
    connection: AsyncConnection, head: Row[Any], seq: int, digest: str, key: SigningKey
) -> None:
    """Point the head at the new row, signed only if it was rightly signed before.

    Otherwise an honest append would launder a head that someone had set back or recomputed: it
    stays unsigned, and ``ignition audit verify`` keeps saying so until an operator has looked.
    """
    signed_at = utc_now()
    trusted = head.seq == 0 or head_holds(head, key)
    await connection.execute(
        update(HEADS)
        .where(HEADS.c.tenant_id == head.tenant_id)
        .values(seq=seq, hash=digest, **signed_head(head.tenant_id, seq, digest, key, signed_at))
        if trusted
        else update(HEADS)
        .where(HEADS.c.tenant_id == head.tenant_id)
        .values(seq=seq, hash=digest, signature="", key_id="", signed_at=null())
    )


def signed_head(
    tenant_id: int, seq: int, digest: str, key: SigningKey, signed_at: datetime
) -> dict[str, Any]:
    """The columns of a head that hold its signature."""
    statement = head_statement(tenant_id=tenant_id, seq=seq, digest=digest, signed_at=signed_at)
    return {"signature": key.sign(statement), "key_id": key.key_id, "signed_at": signed_at}


def head_holds(head: Row[Any], key: SigningKey) -> bool:
    """Whether the head bears this key's signature."""
    if head.signed_at is None or head.key_id != key.key_id:
        return False
    statement = head_statement(
        tenant_id=head.tenant_id, seq=head.seq, digest=head.hash, signed_at=head.signed_at
    )
    return holds(key.public, head.signature, statement)


def _line(value: str, length: int) -> str:
    clean: str = normalise(value)
    return clean if len(clean) <= length else f"{clean[: length - 1]}…"
