"""Signs heads anew after an operator has looked: the only way out of an unsigned head."""

from __future__ import annotations

from sqlalchemy import select, update

from ignition_ext.audit.keys import PublicKeys, SigningKey
from ignition_ext.audit.log import HEADS, record, signed_head
from ignition_ext.audit.report import ChainReport, FindingKind
from ignition_ext.audit.verification import verify
from ignition_ext.database import Database
from ignition_ext.errors import AuditError, ConflictError
from ignition_ext.models.types import utc_now


async def sign_head(
    database: Database, *, tenant: str, keys: PublicKeys, key: SigningKey, actor: str
) -> ChainReport:
    """Sign a tenant's head with this node's key, if its rows hold; leaves a row that says so.

    Needed when a node with another key wrote, or after a break was looked into: an append never
    signs on top of a head that it cannot trust.

    Raises:
        NotFoundError: there is no such tenant.
        AuditError: the rows themselves do not hold; nothing can be signed away.
        ConflictError: someone appended meanwhile.
    """
    [report] = await verify(database, keys=keys, tenant=tenant)
    rows_broken = [
        finding
        for finding in report.findings
        if finding.kind is not FindingKind.HEAD or finding.seq != report.seq
    ]
    if rows_broken:
        first = rows_broken[0]
        raise AuditError(
            str(first),
            tenant=tenant,
            seq=first.seq,
            mend="Restore the rows from a backup; only a head can be signed anew.",
        )
    if report.holds:
        return report
    async with database.write() as session:
        connection = await session.connection()
        here = HEADS.c.tenant_id == report.tenant_id
        head = (await connection.execute(select(HEADS).where(here).with_for_update())).one_or_none()
        if head is None or (head.seq, head.hash) != (report.seq, report.hash):
            raise ConflictError(
                f"tenant {tenant!r}'s audit log does not end where it was verified to.",
                mend="Run it again.",
            )
        signature = signed_head(head.tenant_id, head.seq, head.hash, key, utc_now())
        await connection.execute(update(HEADS).where(here).values(**signature))
        await record(
            session,
            tenant_id=report.tenant_id,
            actor=actor,
            action="audit.head_signed",
            subject=f"tenant:{tenant}",
            before={"finding": report.findings[0].text},
            after={"seq": head.seq, "hash": head.hash, "key_id": key.key_id},
        )
    return report
