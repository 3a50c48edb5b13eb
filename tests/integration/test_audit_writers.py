"""Many writers at once make one chain; what they write survives both databases' JSON."""

from __future__ import annotations

import asyncio
import gc
import stat
import sys
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from ignition_ext import audit
from ignition_ext.audit import verification
from ignition_ext.audit.keys import key_path, signing_key
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError
from ignition_ext.models import AuditLog, Tenant
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel

WRITER = """
import asyncio, sys
from ignition_ext import audit
from ignition_ext.database import Database

async def main(url, name):
    database = Database(url)
    for number in range(15):
        async with database.write() as session:
            await audit.record(session, tenant_id=1, actor=name, action="a", subject=f"s:{number}")
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def new_tenant(database: Database) -> None:
    """A tenant without a chain, as one that another program made."""
    async with database.write() as session:
        session.add(Tenant(id=1, name="acme"))


async def put(database: Database, **fields: Any) -> None:
    async with database.write() as session:
        await audit.record(
            session, **{"tenant_id": 1, "actor": "a", "action": "b", "subject": "c", **fields}
        )


async def chain_holds(database: Database, rows: int) -> bool:
    [report] = await audit.verify(database, keys=audit.trusted_keys())
    assert report.findings == ()
    return report.rows == rows


async def test_processes_that_write_at_once_do_not_fork_the_chain(
    database: Database, database_url: str
) -> None:
    """From the very first row on, and with a key that none of them had before."""
    await new_tenant(database)

    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, database_url, f"w{name}")
        for name in range(3)
    ]
    assert [await writer.wait() for writer in writers] == [0, 0, 0]

    assert await chain_holds(database, 45)
    async with database.read() as session:
        actors = (await session.exec(select(AuditLog.actor))).all()
    assert sorted(set(actors)) == ["w0", "w1", "w2"]


async def test_tasks_that_write_at_once_do_not_fork_the_chain(database: Database) -> None:
    """Ten connections race for the first row of a new tenant."""
    await new_tenant(database)

    await asyncio.gather(*(put(database, subject=f"s:{number}") for number in range(30)))

    assert await chain_holds(database, 30)


async def test_a_change_that_is_rolled_back_leaves_no_row(database: Database) -> None:
    """The row is written in the change's own transaction."""
    await create_tenant(database, name="acme", actor="test")

    async def fail() -> None:
        async with database.write() as session:
            await audit.record(session, tenant_id=1, actor="a", action="b", subject="c")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await chain_holds(database, 1)


async def test_a_pending_tenant_is_written_before_its_row(database: Database) -> None:
    """Callers need not flush."""
    async with database.write() as session:
        session.add(Tenant(id=1, name="acme"))
        await audit.record(session, tenant_id=1, actor="a", action="b", subject="c")

    assert await chain_holds(database, 1)


class Size(Enum):
    LARGE = 1


AWKWARD = {
    "floats": [0.1, 1.0, -0.0, 1e22, 1e300, 5e-324, 1e-7, 123456789.123456789, float("nan")],
    "integers": [0, -1, 2**63, 10**30, True, False],
    "texts": ["", 'e\u0301 é ß 漢字 😀 \u2028 \\ " \x7f', "a\x00b", "\ud800", "null"],
    "keys": {"b": 1, "a": {"ä": 2, "Z": None, "": []}, 3: "three"},
    "times": [
        datetime(2026, 11, 21, 8, tzinfo=UTC),
        datetime(2026, 11, 21, 8, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(2026, 11, 21, 8),
        date(2026, 11, 21),
        timedelta(hours=6),
    ],
    "others": [UUID(int=5), Path("a/b"), Channel.SMS, Size.LARGE, {3, 1, 2}, (1, (2,)), b"x"],
}


async def test_any_value_is_hashed_as_it_is_read_back(database: Database) -> None:
    """jsonb writes numbers its own way and refuses NUL and lone surrogates."""
    await new_tenant(database)

    await put(database, before=AWKWARD, after={"after": AWKWARD})
    await put(database, before={}, after=None)

    assert await chain_holds(database, 2)


async def test_nothing_that_looks_like_an_address_is_stored(database: Database) -> None:
    """In the subject, in values and in keys; the operation goes on."""
    await new_tenant(database)

    await put(
        database,
        subject="suppression:bob@example.com",
        before={"reason": "bob.o'hara@mail.example.co.uk complained, call +44 20 7946 0958"},
        after={
            "用户@例子.公司": ["0171 1234567", {"sms": "004917112345678"}],
            "template": "news@3",
        },
    )

    async with database.read() as session:
        row = (await session.exec(select(AuditLog))).one()
    assert row.subject == "suppression:[email]"
    assert row.before == {"reason": "[email] complained, call [phone]"}
    assert row.after == {"[email]": ["[phone]", {"sms": "[phone]"}], "template": "news@3"}
    assert await chain_holds(database, 1)


async def test_long_words_are_cut_and_do_not_stop_a_change(database: Database) -> None:
    """PostgreSQL refuses what is longer than its column."""
    await new_tenant(database)

    await put(database, actor="a" * 500, action="b" * 500, subject="c" * 500)

    async with database.read() as session:
        row = (await session.exec(select(AuditLog))).one()
    assert [len(row.actor), len(row.action), len(row.subject)] == [200, 100, 300]
    assert await chain_holds(database, 1)


async def test_the_newest_rows_come_last(database: Database) -> None:
    """Of all tenants or of one."""
    await create_tenant(database, name="acme", actor="test")
    await create_tenant(database, name="other", actor="test")
    for number in range(5):
        await put(database, subject=f"s:{number}")

    async with database.read() as session:
        every = await audit.tail(session, limit=3)
        acme = await audit.tail(session, tenant="acme", limit=100)
        other = await audit.tail(session, tenant="other")
    assert [entry.subject for entry in every] == ["s:2", "s:3", "s:4"]
    assert [entry.seq for entry in acme] == [1, 2, 3, 4, 5, 6]
    assert [entry.subject for entry in other] == ["tenant:other"]


async def test_a_long_chain_is_verified_in_constant_memory(
    sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifteen pages need no more than twice what three need; kept whole, it would be five times."""
    monkeypatch.setattr(verification, "PAGE", 100)
    database = Database(sqlite_database_url)
    await new_tenant(database)
    await put(database)
    assert await chain_holds(database, 1)  # what the first verification caches is not counted
    peaks = []
    for more, rows in ((299, 300), (1_200, 1_500)):
        async with database.write() as session:
            for number in range(more):
                await audit.record(session, tenant_id=1, actor="a", action="b", subject=str(number))
        gc.collect()
        tracemalloc.start()
        assert await chain_holds(database, rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 2
    await database.close()


def test_the_key_is_made_once_for_its_owner_only() -> None:
    """Mode 0600, the same key afterwards, no draft left behind."""
    first, second = signing_key(), signing_key()

    assert first.key_id == second.key_id
    assert stat.S_IMODE(key_path().stat().st_mode) == 0o600
    assert list(key_path().parent.iterdir()) == [key_path()]


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAA==\n"])
def test_a_file_that_is_no_key_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """With the setting that mends it."""
    path = tmp_path / "key.pem"
    path.write_text(content)
    monkeypatch.setenv("IGNITION_AUDIT_KEY_FILE", str(path))

    with pytest.raises(ConfigurationError, match=r"key\.pem") as caught:
        signing_key()
    assert "IGNITION_AUDIT_KEY_FILE" in caught.value.mend


def test_a_key_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below a file there is no folder."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IGNITION_AUDIT_KEY_FILE", str(tmp_path / "file" / "key.pem"))

    with pytest.raises(ConfigurationError, match="cannot be made"):
        signing_key()


async def test_rows_of_a_node_with_another_key_need_that_key(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its public key suffices to verify the rows; the head waits for an operator."""
    await create_tenant(database, name="acme", actor="test")
    public = tmp_path / "public.pem"
    public.write_text(audit.public_pem(signing_key().public))
    monkeypatch.setenv("IGNITION_AUDIT_KEY_FILE", str(tmp_path / "other.pem"))
    await put(database)

    [strange] = await audit.verify(database, keys=audit.trusted_keys())
    keys = audit.trusted_keys([public])
    [known] = await audit.verify(database, keys=keys)
    await audit.sign_head(database, tenant="acme", keys=keys, key=signing_key(), actor="test")
    [signed] = await audit.verify(database, keys=keys)

    assert [finding.kind for finding in strange.findings] == ["unknown_key", "head"]
    assert [finding.kind for finding in known.findings] == ["head"]
    assert signed.holds


async def test_verifying_makes_no_key(database: Database) -> None:
    """A command that reads leaves nothing behind."""
    await new_tenant(database)

    await audit.verify(database, keys=audit.trusted_keys())

    assert not key_path().exists()


async def test_ids_grow_with_the_chain(database: Database) -> None:
    """`audit tail` over all tenants goes by them."""
    await new_tenant(database)
    await asyncio.gather(*(put(database) for _ in range(10)))

    async with database.read() as session:
        seqs = (await session.exec(select(AuditLog.seq).order_by(col(AuditLog.id)))).all()
    assert list(seqs) == list(range(1, 11))
