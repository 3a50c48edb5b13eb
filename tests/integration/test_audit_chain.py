"""Whatever is done to audit rows behind the triggers' back, verifying names the first row."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from sqlmodel import col, select

from ignition_ext import audit
from ignition_ext.audit.canonical import AuditRow, row_hash, row_statement
from ignition_ext.audit.keys import SigningKey
from ignition_ext.audit.report import FindingKind as Kind
from ignition_ext.database import Database
from ignition_ext.errors import AuditError, NotFoundError
from ignition_ext.models import AuditHead, AuditLog
from ignition_ext.tenants import create_tenant

ROWS = 8
LIFT_GUARDS = {
    "postgresql": (
        "ALTER TABLE audit_log DISABLE TRIGGER USER",
        "ALTER TABLE audit_head DISABLE TRIGGER USER",
    ),
    "sqlite": (
        "DROP TRIGGER audit_log_no_update",
        "DROP TRIGGER audit_log_no_delete",
        "DROP TRIGGER audit_head_forward",
        "DROP TRIGGER audit_head_no_delete",
    ),
}


class Tamperer:
    """Someone who owns the database, but has no key: changes tenant acme's chain as he likes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def sql(self, *statements: str) -> None:
        async with self.database.engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))

    async def renumber(self, first: int, by: int) -> None:
        """Move rows from ``first`` on, without ever breaking the unique key."""
        await self.sql(
            f"UPDATE audit_log SET seq = -seq WHERE seq >= {first} AND tenant_id = 1",
            f"UPDATE audit_log SET seq = -seq + {by} WHERE seq < 0 AND tenant_id = 1",
        )

    async def set_head(self) -> None:
        """Point the head at the last row."""
        await self.sql(
            "UPDATE audit_head SET seq = (SELECT max(seq) FROM audit_log WHERE tenant_id = 1),"
            " hash = (SELECT hash FROM audit_log WHERE tenant_id = 1 ORDER BY seq DESC LIMIT 1)"
            " WHERE tenant_id = 1"
        )

    async def recompute(
        self, first: int, *, key: SigningKey | None = None, change: dict[str, Any] | None = None
    ) -> None:
        """Change row ``first`` and compute all hashes from there anew, signed by a key or not."""
        async with self.database.write() as session:
            query = select(AuditLog).where(AuditLog.tenant_id == 1).order_by(col(AuditLog.seq))
            rows = (await session.exec(query)).all()
            for before, row in zip([None, *rows], rows, strict=False):
                if row.seq < first:
                    continue
                if row.seq == first:
                    row.sqlmodel_update(change or {"actor": "mallory"})
                if before is not None:
                    row.previous_hash = before.hash
                row.hash = row_hash(content(row))
                if key is not None:
                    row.signature = key.sign(row_statement(row.hash))
                    row.key_id = key.key_id
        await self.set_head()

    async def insert(self, seq: int, *, key: SigningKey | None = None, proper: bool = True) -> None:
        """Put a row of one's own after row ``seq - 1``."""
        async with self.database.write() as session:
            query = select(AuditLog).where(AuditLog.tenant_id == 1, AuditLog.seq == seq - 1)
            before = (await session.exec(query)).one()
            forged = content(before)
            forged = replace(
                forged,
                seq=seq,
                at=before.at + timedelta(seconds=1),
                actor="mallory",
                previous_hash=before.hash if proper else "0" * 64,
            )
            digest = row_hash(forged)
            fields = {name: getattr(forged, name) for name in AuditRow.__dataclass_fields__}
            row = AuditLog(**fields, hash=digest)
            if key is not None:
                row.signature, row.key_id = key.sign(row_statement(digest)), key.key_id
            session.add(row)


def content(row: AuditLog) -> AuditRow:
    return AuditRow(**{name: getattr(row, name) for name in AuditRow.__dataclass_fields__})


@pytest.fixture
async def tamperer(database: Database) -> Tamperer:
    """A chain of eight rows of acme, one of another tenant, and no guards."""
    acme = await create_tenant(database, name="acme", actor="test")
    other = await create_tenant(database, name="other", actor="test")
    assert (acme.id, other.id) == (1, 2)
    for number in range(2, ROWS + 1):
        async with database.write() as session:
            await audit.record(
                session,
                tenant_id=1,
                actor="cli:jane",
                action="campaign.applied",
                subject=f"campaign:{number}",
                before={"version": number - 1},
                after={"version": number, "share": 0.5},
            )
    someone = Tamperer(database)
    await someone.sql(*LIFT_GUARDS[database.dialect])
    return someone


async def findings(database: Database, **options: Any) -> list[tuple[int, Kind]]:
    """What is found in acme's chain; the other tenant's must hold."""
    reports = await audit.verify(database, keys=audit.trusted_keys(), **options)
    by_name = {report.tenant: report for report in reports}
    assert by_name["other"].holds
    return [(finding.seq, finding.kind) for finding in by_name["acme"].findings]


async def test_an_untouched_chain_holds(tamperer: Tamperer) -> None:
    """Every row is read, and the report ends with the last."""
    assert await findings(tamperer.database) == []
    [report] = await audit.verify(tamperer.database, keys=audit.trusted_keys(), tenant="acme")
    assert (report.rows, report.seq) == (ROWS, ROWS)


@pytest.mark.parametrize(
    "assignment",
    [
        "actor = 'mallory'",
        "action = 'x'",
        "subject = 'x'",
        "before = NULL",
        'after = \'{"version": 4, "share": 0.51}\'',
        "hash = previous_hash",
        "previous_hash = hash",
        "id = 100",
    ],
)
async def test_a_changed_field_is_found(tamperer: Tamperer, assignment: str) -> None:
    """Each field is covered by the hash; only the surrogate key is free."""
    await tamperer.sql(f"UPDATE audit_log SET {assignment} WHERE tenant_id = 1 AND seq = 4")

    expected = [] if assignment == "id = 100" else [(4, Kind.CHANGED)]
    assert await findings(tamperer.database) == expected


async def test_a_changed_microsecond_is_found(tamperer: Tamperer) -> None:
    """Times are hashed to the microsecond, on both databases."""
    async with tamperer.database.write() as session:
        query = select(AuditLog).where(AuditLog.tenant_id == 1, AuditLog.seq == 4)
        row = (await session.exec(query)).one()
        row.at += timedelta(microseconds=1)

    assert await findings(tamperer.database) == [(4, Kind.CHANGED)]


async def test_a_row_given_to_another_tenant_is_missed(tamperer: Tamperer) -> None:
    """The tenant is part of what is hashed."""
    await tamperer.sql(
        "UPDATE audit_log SET tenant_id = 2, seq = 2 WHERE tenant_id = 1 AND seq = 4"
    )

    reports = await audit.verify(tamperer.database, keys=audit.trusted_keys())
    found = {report.tenant: report.findings[0] for report in reports}
    assert (found["acme"].seq, found["acme"].kind) == (4, Kind.REMOVED)
    assert found["other"].seq == 2


@pytest.mark.parametrize("seq", [1, 4, ROWS - 1])
async def test_a_removed_row_is_found(tamperer: Tamperer, seq: int) -> None:
    """Whether or not the later rows are moved up to close the gap."""
    await tamperer.sql(f"DELETE FROM audit_log WHERE tenant_id = 1 AND seq = {seq}")
    assert await findings(tamperer.database) == [(seq, Kind.REMOVED)]

    await tamperer.renumber(seq + 1, by=-1)
    await tamperer.set_head()
    assert await findings(tamperer.database) == [(seq, Kind.REMOVED)]


async def test_an_inserted_row_is_found(tamperer: Tamperer) -> None:
    """Later rows moved on, the forged one rightly chained but unsigned."""
    await tamperer.renumber(4, by=1)
    await tamperer.insert(4)
    await tamperer.set_head()

    assert await findings(tamperer.database) == [(4, Kind.INSERTED)]


async def test_a_carelessly_inserted_row_is_found(tamperer: Tamperer) -> None:
    """The forged row does not even follow the one before."""
    await tamperer.renumber(4, by=1)
    await tamperer.insert(4, proper=False)
    await tamperer.set_head()

    assert await findings(tamperer.database) == [(4, Kind.INSERTED)]


async def test_a_row_inserted_with_a_foreign_key_is_found(tamperer: Tamperer) -> None:
    """A signature counts only if its key is trusted."""
    await tamperer.renumber(4, by=1)
    await tamperer.insert(4, key=SigningKey(Ed25519PrivateKey.generate()))
    await tamperer.set_head()

    assert await findings(tamperer.database) == [(4, Kind.INSERTED), (4, Kind.UNKNOWN_KEY)]


@pytest.mark.parametrize("seq", [0, -5])
async def test_a_row_before_the_first_is_found(tamperer: Tamperer, seq: int) -> None:
    """Numbers count from 1."""
    await tamperer.insert(ROWS + 1)
    await tamperer.sql(f"UPDATE audit_log SET seq = {seq} WHERE seq = {ROWS + 1}")

    assert await findings(tamperer.database) == [(seq, Kind.INSERTED)]


async def test_an_appended_row_is_found(tamperer: Tamperer) -> None:
    """With the head left alone or moved along."""
    await tamperer.insert(ROWS + 1)
    assert await findings(tamperer.database) == [(ROWS + 1, Kind.UNSIGNED)]

    await tamperer.set_head()
    assert await findings(tamperer.database) == [(ROWS + 1, Kind.UNSIGNED)]


async def test_a_row_behind_the_head_is_found(tamperer: Tamperer) -> None:
    """A head set back without cutting the rows."""
    await tamperer.sql("UPDATE audit_head SET seq = 6 WHERE tenant_id = 1")

    assert await findings(tamperer.database) == [(7, Kind.INSERTED)]


async def test_swapped_rows_are_found(tamperer: Tamperer) -> None:
    """Neighbours that change places."""
    await tamperer.sql(
        "UPDATE audit_log SET seq = -1 WHERE tenant_id = 1 AND seq = 4",
        "UPDATE audit_log SET seq = 4 WHERE tenant_id = 1 AND seq = 5",
        "UPDATE audit_log SET seq = 5 WHERE tenant_id = 1 AND seq = -1",
    )

    assert await findings(tamperer.database) == [(4, Kind.REORDERED)]


async def test_a_row_moved_to_the_end_is_found(tamperer: Tamperer) -> None:
    """With and without closing the gap."""
    await tamperer.sql(f"UPDATE audit_log SET seq = {ROWS + 1} WHERE tenant_id = 1 AND seq = 4")
    assert await findings(tamperer.database) == [(4, Kind.REORDERED)]

    await tamperer.renumber(5, by=-1)
    await tamperer.set_head()
    assert await findings(tamperer.database) == [(4, Kind.REORDERED)]


@pytest.mark.parametrize("first", [1, 4, ROWS])
async def test_a_recomputed_chain_is_found(tamperer: Tamperer, first: int) -> None:
    """All hashes fit, the signatures do not."""
    await tamperer.recompute(first)

    assert await findings(tamperer.database) == [(first, Kind.RECOMPUTED)]


async def test_a_chain_recomputed_without_signatures_is_found(tamperer: Tamperer) -> None:
    """Taking the signatures away does not help."""
    await tamperer.recompute(4)
    await tamperer.sql("UPDATE audit_log SET signature = '', key_id = '' WHERE tenant_id = 1")

    assert await findings(tamperer.database) == [(1, Kind.UNSIGNED)]


async def test_a_cut_tail_is_found(tamperer: Tamperer) -> None:
    """By the head, and by the head's missing signature once it is set back as well."""
    await tamperer.sql("DELETE FROM audit_log WHERE tenant_id = 1 AND seq > 6")
    assert await findings(tamperer.database) == [(7, Kind.REMOVED)]

    await tamperer.set_head()
    assert await findings(tamperer.database) == [(6, Kind.HEAD)]

    await tamperer.sql(
        "UPDATE audit_head SET"
        " signature = (SELECT signature FROM audit_log WHERE tenant_id = 1 AND seq = 6)"
        " WHERE tenant_id = 1"
    )
    assert await findings(tamperer.database) == [(6, Kind.HEAD)]


async def test_an_honest_append_does_not_launder_a_cut_tail(tamperer: Tamperer) -> None:
    """The head stays unsigned until an operator has looked and signs it himself."""
    database = tamperer.database
    await tamperer.sql("DELETE FROM audit_log WHERE tenant_id = 1 AND seq > 6")
    await tamperer.set_head()
    async with database.write() as session:
        await audit.record(session, tenant_id=1, actor="test", action="a", subject="s")
    assert await findings(database) == [(7, Kind.HEAD)]

    await audit.sign_head(
        database, tenant="acme", keys=audit.trusted_keys(), key=audit.signing_key(), actor="test"
    )

    assert await findings(database) == []
    async with database.read() as session:
        newest = (await audit.tail(session, tenant="acme", limit=1))[0]
    assert (newest.seq, newest.action) == (8, "audit.head_signed")


async def test_broken_rows_cannot_be_signed_away(tamperer: Tamperer) -> None:
    """Signing a head anew begins with verifying the rows."""
    await tamperer.recompute(4)

    with pytest.raises(AuditError, match="row 4") as caught:
        await audit.sign_head(
            tamperer.database,
            tenant="acme",
            keys=audit.trusted_keys(),
            key=audit.signing_key(),
            actor="test",
        )
    assert (caught.value.tenant, caught.value.seq) == ("acme", 4)


async def test_a_vanished_chain_is_found(tamperer: Tamperer) -> None:
    """A tenant has at least the row of its creation."""
    await tamperer.sql("DELETE FROM audit_log WHERE tenant_id = 1")
    assert await findings(tamperer.database) == [(1, Kind.REMOVED)]

    await tamperer.sql("DELETE FROM audit_head WHERE tenant_id = 1")
    assert await findings(tamperer.database) == [(1, Kind.REMOVED)]


async def test_a_missing_head_is_found_and_stops_writers(tamperer: Tamperer) -> None:
    """Nobody can start a second chain on top of the first."""
    await tamperer.sql("DELETE FROM audit_head WHERE tenant_id = 1")

    assert await findings(tamperer.database) == [(ROWS, Kind.HEAD)]
    with pytest.raises(AuditError, match="head"):
        async with tamperer.database.write() as session:
            await audit.record(session, tenant_id=1, actor="test", action="a", subject="s")


async def checkpoint(database: Database, path: Path) -> audit.Checkpoint:
    document = await audit.make_checkpoint(database, audit.signing_key())
    path.write_text(json.dumps(document))
    return audit.read_checkpoint(path)


async def test_a_database_set_back_to_an_old_copy_shows_by_a_checkpoint(
    tamperer: Tamperer, tmp_path: Path
) -> None:
    """Head and signature of an earlier day are right in themselves: only a checkpoint tells."""
    database = tamperer.database
    async with database.read() as session:
        old = (await session.exec(select(AuditHead).where(AuditHead.tenant_id == 1))).one()
    async with database.write() as session:
        await audit.record(session, tenant_id=1, actor="test", action="a", subject="s")
    known = await checkpoint(database, tmp_path / "checkpoint.json")
    assert await findings(database, checkpoint=known) == []

    await tamperer.sql(f"DELETE FROM audit_log WHERE tenant_id = 1 AND seq = {ROWS + 1}")
    async with database.write() as session:
        head = (await session.exec(select(AuditHead).where(AuditHead.tenant_id == 1))).one()
        head.sqlmodel_update(old.model_dump())

    assert await findings(database) == []
    assert await findings(database, checkpoint=known) == [(ROWS + 1, Kind.REMOVED)]


async def test_a_chain_recomputed_with_the_stolen_key_shows_by_a_checkpoint(
    tamperer: Tamperer, tmp_path: Path
) -> None:
    """Rows before the checkpoint cannot be changed any more, whoever signs."""
    database = tamperer.database
    known = await checkpoint(database, tmp_path / "checkpoint.json")

    await tamperer.recompute(4, key=audit.signing_key())

    assert (await findings(database, checkpoint=known))[0] == (ROWS, Kind.RECOMPUTED)


async def test_a_checkpoint_still_holds_when_the_chain_has_grown(
    tamperer: Tamperer, tmp_path: Path
) -> None:
    """It says what the chain must contain, not where it ends."""
    known = await checkpoint(tamperer.database, tmp_path / "checkpoint.json")
    async with tamperer.database.write() as session:
        await audit.record(session, tenant_id=1, actor="test", action="a", subject="s")

    assert await findings(tamperer.database, checkpoint=known) == []


async def test_no_checkpoint_is_made_of_an_unsigned_head(tamperer: Tamperer) -> None:
    """It would vouch for what nobody has seen."""
    await tamperer.sql("UPDATE audit_head SET signature = '' WHERE tenant_id = 1")

    with pytest.raises(AuditError, match="acme"):
        await audit.make_checkpoint(tamperer.database, audit.signing_key())


def _other_hash(document: dict[str, Any]) -> None:
    document["chains"][0]["hash"] = "0" * 64


def _other_key(document: dict[str, Any]) -> None:
    document["public_key"] = audit.public_pem(Ed25519PrivateKey.generate().public_key())


def _other_signature(document: dict[str, Any]) -> None:
    document["signature"] = base64.b64encode(bytes(64)).decode()


def _fewer_chains(document: dict[str, Any]) -> None:
    del document["chains"][0]


def _no_signature(document: dict[str, Any]) -> None:
    del document["signature"]


def _other_version(document: dict[str, Any]) -> None:
    document["version"] = 2


@pytest.mark.parametrize(
    "change",
    [_other_hash, _other_key, _other_signature, _fewer_chains, _no_signature, _other_version],
)
async def test_a_changed_checkpoint_is_refused(
    tamperer: Tamperer, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    """Its signature covers all of it."""
    document = await audit.make_checkpoint(tamperer.database, audit.signing_key())
    change(document)
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps(document))

    with pytest.raises(AuditError, match=r"checkpoint\.json"):
        audit.read_checkpoint(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"public_key": 3}'])
def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever the file holds, one clear error."""
    path = tmp_path / "checkpoint.json"
    path.write_text(text)

    with pytest.raises(AuditError, match="not an audit checkpoint"):
        audit.read_checkpoint(path)


async def test_an_unknown_tenant_is_said(database: Database) -> None:
    """Rather than nothing being verified."""
    with pytest.raises(NotFoundError):
        await audit.verify(database, keys={}, tenant="nobody")
