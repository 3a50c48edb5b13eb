"""An import is seen whole or not at all, and every row is accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import func
from sqlmodel import col, select

from ignition_ext.audience import ImportProgress, ImportResult, get_audience, import_csv
from ignition_ext.audience.contract import BATCH_ROWS
from ignition_ext.database import Database
from ignition_ext.errors import AudienceError, ConflictError, NotFoundError
from ignition_ext.models import Audience, AuditLog, RecipientRow, Tenant

Store = Callable[..., Awaitable[ImportResult]]
Read = Callable[..., Awaitable[tuple[list, object]]]


async def generations(database: Database) -> dict[int, int]:
    query = select(RecipientRow.generation, func.count()).group_by(col(RecipientRow.generation))
    async with database.read() as session:
        return dict((await session.exec(query)).all())


async def test_rows_are_kept_dropped_and_counted(store: Store, read: Read, tmp_path: Path) -> None:
    result = await store(
        "E-Mail;Mobile;first_name;locale\n"
        "Ann@Example.com;01512 3456789;Ann;de\n"
        "ann@example.com;+49 1512 3456789;Ann again;de\n"
        "ann@example.com;;Ann by mail;xx-nope\n"
        'bad;12;"Bad\nlines";de\n'
        "bob@example.com;999;Bob\n"
        ";01512 3456780;Зоя 🌻;ru\n"
    )
    found, stats = await read(name="people")

    assert (result.imported, result.duplicates, result.rejected, result.partial) == (3, 1, 2, 1)
    assert (result.encoding, result.delimiter, result.generation) == ("utf-8", ";", 1)
    assert result.columns == ("email", "phone", "first_name", "locale")
    assert [(p.email, p.phone, p.locale, p.data["first_name"]) for p in found] == [
        ("ann@example.com", "+4915123456789", "de", "Ann"),
        ("ann@example.com", None, None, "Ann by mail"),
        (None, "+4915123456780", "ru", "Зоя 🌻"),
    ]
    assert all(person.id for person in found)
    assert stats.yielded == 3
    assert result.rejects_path == tmp_path / "people.rejects.csv"
    told = [line.split(",")[:2] for line in result.rejects_path.read_text().splitlines()[1:]]
    assert told == [["4", "locale"], ["5", "email"], ["5", "phone"], ["7", ""]]


async def test_the_next_import_replaces_the_one_before(
    store: Store, read: Read, database: Database
) -> None:
    await store("email\nann@example.com\nbob@example.com\n")
    await store("email\ncy@example.com\n")
    found, _ = await read(name="people")

    assert [person.email for person in found] == ["cy@example.com"]
    assert await generations(database) == {2: 1}


async def test_a_failed_import_changes_nothing_that_is_seen(
    store: Store, read: Read, database: Database, tmp_path: Path
) -> None:
    await store("email\nann@example.com\n")

    with pytest.raises(AudienceError, match="none of 2 rows") as caught:
        await store("email\nbad\nworse\n")
    with pytest.raises(AudienceError, match="JSON"):
        await store("[1]")

    assert "people.rejects.csv" in caught.value.mend
    assert (tmp_path / "people.rejects.csv").exists()
    assert [person.email for person in (await read(name="people"))[0]] == ["ann@example.com"]
    assert await generations(database) == {1: 1}


async def test_a_failure_in_the_middle_leaves_no_rows(
    store: Store, database: Database, tenant: Tenant, tmp_path: Path
) -> None:
    await store("email\nann@example.com\n")
    path = tmp_path / "many.csv"
    path.write_text("email\n" + "".join(f"a{n}@example.com\n" for n in range(BATCH_ROWS * 2)))

    def stop(progress: ImportProgress) -> None:
        assert progress.imported == BATCH_ROWS
        raise KeyError("stop")

    with pytest.raises(KeyError):
        await import_csv(
            *(database,),
            tenant="acme",
            name="people",
            path=path,
            rejects=None,
            actor="test",
            progress=stop,
        )

    assert await generations(database) == {1: 1}
    assert {entry.name for entry in tmp_path.glob("*.csv")} == {"many.csv", "people.csv"}


async def test_progress_reaches_the_files_end(
    database: Database, tenant: Tenant, tmp_path: Path
) -> None:
    path = tmp_path / "many.csv"
    rows = BATCH_ROWS * 2 + 10
    path.write_text("email\n" + "".join(f"a{n}@example.com\n" for n in range(rows)))
    seen: list[ImportProgress] = []

    result = await import_csv(
        *(database,),
        tenant="acme",
        name="people",
        path=path,
        rejects=None,
        actor="test",
        progress=seen.append,
    )

    assert result.imported == rows
    assert [step.imported for step in seen] == [BATCH_ROWS, BATCH_ROWS * 2, rows]
    assert seen[-1].bytes_read == seen[-1].bytes_total == path.stat().st_size


async def test_two_imports_at_once_leave_one_of_them_whole(
    database: Database, tenant: Tenant, tmp_path: Path, read: Read
) -> None:
    async def run(letter: str) -> ImportResult | BaseException:
        path = tmp_path / f"{letter}.csv"
        rows = "".join(f"{letter}{n}@example.com\n" for n in range(BATCH_ROWS + 500))
        path.write_text(f"email\n{rows}")
        return await import_csv(
            database, tenant="acme", name="people", path=path, rejects=None, actor="test"
        )

    results = await asyncio.gather(run("a"), run("b"), run("c"), return_exceptions=True)

    won = [result for result in results if isinstance(result, ImportResult)]
    assert all(isinstance(result, ImportResult | ConflictError) for result in results)
    last = max(result.generation for result in won)
    assert await generations(database) == {last: BATCH_ROWS + 500}
    found, _ = await read(name="people")
    assert len({str(person.email)[0] for person in found}) == 1
    assert len(found) == BATCH_ROWS + 500


async def test_a_reader_keeps_the_import_it_opened(
    store: Store, database: Database, tenant: Tenant, tmp_path: Path, read: Read
) -> None:
    await store("email\n" + "".join(f"a{n}@example.com\n" for n in range(BATCH_ROWS * 3)))
    from ignition_ext.audience import open_source
    from ignition_ext.campaigns.definition import AudienceSpec

    async def no_block(_: str) -> str:
        raise AssertionError

    async with open_source(
        database,
        tenant=tenant,
        spec=AudienceSpec(name="people"),
        base_path=tmp_path,
        resolve_block=no_block,
        rejects=None,
    ) as source:
        batches = source.batches()
        first = await anext(batches)
        await store("email\nnew@example.com\n")
        rest = [person async for batch in batches for person in batch]

    assert len(first) + len(rest) == BATCH_ROWS * 3
    assert [person.email for person in (await read(name="people"))[0]] == ["new@example.com"]


async def test_the_audit_log_names_the_import_and_no_person(
    store: Store, database: Database
) -> None:
    await store("email,name\nann@example.com,Ann\n")
    await store("email,name\nann@example.com,Ann\nbob@example.com,Bob\nbad,x\n")

    query = select(AuditLog).where(AuditLog.subject == "audience:people").order_by(AuditLog.seq)
    async with database.read() as session:
        rows = (await session.exec(query)).all()

    assert [row.action for row in rows] == ["audience.imported"] * 2
    assert rows[0].before is None
    assert rows[1].before["size"] == 1
    assert rows[1].after["size"] == 2
    assert rows[1].after["rejected"] == 1
    assert all("ann@" not in str((row.before, row.after)) for row in rows)


async def test_unknown_tenants_names_and_audiences_are_told(
    store: Store, database: Database, tenant: Tenant, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("email\na@example.com\n")

    with pytest.raises(NotFoundError, match="nobody"):
        await import_csv(database, tenant="nobody", name="x", path=path, rejects=None, actor="test")
    with pytest.raises(AudienceError, match="'No Slug'"):
        await store("email\na@example.com\n", name="No Slug")
    async with database.read() as session:
        with pytest.raises(NotFoundError) as caught:
            await get_audience(session, tenant.id or 0, "people", tenant="acme")
        assert (await session.exec(select(Audience))).all() == []
    assert "ignition audience import" in caught.value.mend
