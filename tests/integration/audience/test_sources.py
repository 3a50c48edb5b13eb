"""Every kind of source yields the same people, filtered by the same rules."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from ignition_ext.audience import ImportResult, SourceStats
from ignition_ext.audience.contract import BATCH_ROWS
from ignition_ext.errors import AudienceError, NotFoundError
from ignition_ext.values import Recipient

Store = Callable[..., Awaitable[ImportResult]]
Read = Callable[..., Awaitable[tuple[list[Recipient], SourceStats]]]

HEADER = ("email", "phone", "first name", "plan", "amount", "day")
PEOPLE = (
    ("ann@example.com", "", "Ann", "pro", "100", "2026-01-01"),
    ("bob@example.com", "", "bob", "free", "99.5", "2026-06-30"),
    ("cy@example.com", "+4915123456789", "Çağla", "Pro", "", "2027-01-01"),
    ("dee@example.com", "", "Дмитрий", "it's", "abc", ""),
    ("eve@example.com", "", "100%", "a_b", "-5", "x"),
    ("fay@example.com", "", "*[x]?", "", " 7 ", ""),
    ("gus@example.com", "", "back\\slash", "colon:x", "1e3", ""),
)
CONDITIONS = [
    "plan = 'pro'",
    "plan <> 'pro'",
    "NOT plan = 'pro'",
    "plan IN ('pro', 'free')",
    "plan NOT IN ('pro', 'free')",
    "plan = 'it''s'",
    "lower(plan) = 'pro'",
    "plan ILIKE 'PR%'",
    "plan LIKE 'pr_'",
    "plan NOT LIKE 'p%'",
    "plan LIKE 'a_b'",
    "plan LIKE 'colon:%'",
    "\"first name\" LIKE '%\\%'",
    "\"first name\" LIKE '*%'",
    "\"first name\" LIKE '_[x]_'",
    "\"first name\" LIKE '100%'",
    "upper(\"first name\") = 'ДМИТРИЙ'",
    "\"first name\" > 'a'",
    "\"first name\" <= 'Z'",
    'length("first name") = 5',
    "amount > 10",
    "NOT amount > 10",
    "amount = 100.0",
    "amount BETWEEN -5 AND 7",
    "amount NOT BETWEEN -5 AND 7",
    "amount IN (7, 100)",
    "cast(amount AS int) >= 100 OR plan = ''",
    "coalesce(cast(amount AS numeric), 0) = 0",
    "cast(amount AS numeric) IS NULL",
    "day BETWEEN '2026-01-01' AND '2026-12-31'",
    "day IS NULL",
    "phone <> '' AND amount IS NOT NULL",
    "1 = 1 AND 'a' = 'a'",
    "'a' = 1 OR 2 > 1.5",
]


def text() -> str:
    rows = [HEADER, *PEOPLE]
    return "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows) + "\n"


@pytest.fixture
def warehouse(database_url: str, tmp_path: Path) -> str:
    """The operator's own database, of the same kind as Ignition's, with the same people."""
    create = 'CREATE TABLE people (email text, phone text, "first name" text, plan text,'
    create += " amount text, day text)"
    if database_url.startswith("sqlite"):
        path = tmp_path / "warehouse.db"
        with sqlite3.connect(path) as connection:
            connection.execute(create)
            connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", PEOPLE)
        connection.close()
        return f"sqlite:///{path}"
    with psycopg.connect(database_url) as connection:
        connection.execute(create)
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s, %s, %s)", PEOPLE)
    return database_url


async def test_a_condition_means_the_same_for_every_source(
    store: Store, read: Read, tmp_path: Path, warehouse: str
) -> None:
    (tmp_path / "loose.csv").write_text(text(), encoding="utf-8")
    await store(text())

    for where in CONDITIONS:
        stored, _ = await read(name="people", where=where)
        loose, _ = await read(csv="loose.csv", where=where)
        asked, _ = await read(sql="SELECT * FROM people", block="dwh", url=warehouse, where=where)
        addresses = [[person.email for person in found] for found in (stored, loose, asked)]
        assert addresses[0] == addresses[1] == addresses[2], where
        if where not in ("day IS NULL",):
            assert addresses[0], where


async def test_a_csv_is_unique_before_it_is_filtered(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "email,plan\na@example.com,free\nA@example.com,pro\nb@example.com,pro\nbad,pro\n"
    )

    found, stats = await read(csv="a.csv", where="plan = 'pro'", rejects=tmp_path / "r.csv")

    assert [(person.email, person.line) for person in found] == [("b@example.com", 4)]
    assert (stats.duplicates, stats.filtered, stats.rejected, stats.yielded) == (1, 1, 1, 1)
    assert stats.rejects_path == tmp_path / "r.csv"


async def test_duplicates_far_apart_are_found(read: Read, tmp_path: Path) -> None:
    rows = "".join(f"a{n % (BATCH_ROWS * 2)}@example.com\n" for n in range(BATCH_ROWS * 4))
    (tmp_path / "a.csv").write_text(f"email\n{rows}")

    found, stats = await read(csv="a.csv")

    assert len(found) == BATCH_ROWS * 2
    assert stats.duplicates == BATCH_ROWS * 2


async def test_a_query_is_taken_as_written(read: Read, warehouse: str) -> None:
    query = (
        "SELECT email AS \"E-Mail\", ':a ::b % %% %s \\: \\\\:c ?' AS odd, plan -- a comment\n"
        "FROM people WHERE plan LIKE 'pro%' AND phone = '' -- the end;"
    )

    for where in ({}, {"where": "odd LIKE ':a%' AND email LIKE 'ann@%'"}):
        found, _ = await read(sql=query, block="dwh", url=warehouse, **where)
        assert [(person.email, person.data["odd"]) for person in found] == [
            ("ann@example.com", ":a ::b % %% %s \\: \\\\:c ?")
        ]


async def test_long_results_are_streamed_in_order(read: Read, warehouse: str) -> None:
    query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " SELECT 'a' || i || '@example.com' AS email, i FROM n ORDER BY i;"
    )

    found, stats = await read(sql=query, block="dwh", url=warehouse)

    assert [person.data["i"] for person in found] == list(range(1, 5001))
    assert stats.yielded == 5000


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT nothing FROM people", "nothing"),
        ("SELEC 1", "syntax error"),
        ("SELECT plan FROM people", "no email or phone column"),
        ("SELECT email, email FROM people", "are both 'email'"),
        ("DELETE FROM people", ""),
        ("DELETE FROM people RETURNING email", ""),
        ("UPDATE people SET plan = 'x' RETURNING email", ""),
        ("CREATE TABLE more (email text)", ""),
        ("SELECT email FROM people; DELETE FROM people", ""),
        ("SELECT email FROM people; COMMIT; DELETE FROM people", ""),
        ("COMMIT; DELETE FROM people; SELECT email FROM people", ""),
        ("", ""),
    ],
)
async def test_a_bad_query_is_answered_and_changes_nothing(
    read: Read, warehouse: str, query: str, message: str
) -> None:
    for where in ({}, {"where": "email <> ''"}):
        with pytest.raises(AudienceError, match="block 'dwh'") as caught:
            await read(sql=query or " ", block="dwh", url=warehouse, **where)
        assert message in caught.value.message
        assert caught.value.mend

    found, _ = await read(sql="SELECT * FROM people", block="dwh", url=warehouse)
    assert len(found) == len(PEOPLE)


async def test_a_failure_while_rows_come_is_answered(read: Read, warehouse: str) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
    broken = (
        "json_extract('{', CASE WHEN i > 8000 THEN '$' || 'x' END)"
        if warehouse.startswith("sqlite")
        else "1 / (8000 - i)"
    )
    with pytest.raises(AudienceError, match="block 'dwh'"):
        await read(
            sql=f"{numbers} SELECT 'a' || i || '@example.com' AS email, {broken} AS x FROM n",
            block="dwh",
            url=warehouse,
        )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/x", "block 'dwh'"),
        ("postgresql://me:hunter2@127.0.0.1:notaport/x", "no database URL"),
        ("hunter2", "no database URL"),
        ("mysql://me:hunter2@host/x", "mysql"),
        ("sqlite:////nowhere/x.db", "no SQLite file"),
        ("sqlite://", "no SQLite file"),
    ],
)
async def test_a_bad_url_is_told_without_its_password(read: Read, url: str, message: str) -> None:
    with pytest.raises(AudienceError, match="dwh") as caught:
        await read(sql="SELECT 1 AS email", block="dwh", url=url)

    assert message in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert caught.value.mend


async def test_a_wrong_password_is_told_without_it(read: Read, postgres_url: str) -> None:
    url = make_url(postgres_url).set(password="hunter2")

    with pytest.raises(AudienceError, match="password authentication failed") as caught:
        await read(
            sql="SELECT 1 AS email",
            block="dwh",
            url=url.render_as_string(hide_password=False),
        )

    assert "hunter2" not in str(caught.value)


async def test_a_stored_audience_that_is_not_there(read: Read) -> None:
    with pytest.raises(NotFoundError, match="no audience 'people'"):
        await read(name="people")


async def test_unknown_columns_are_told_before_anything_is_read(
    store: Store, read: Read, tmp_path: Path, warehouse: str
) -> None:
    (tmp_path / "loose.csv").write_text(text(), encoding="utf-8")
    await store(text())

    for source in (
        {"name": "people"},
        {"csv": "loose.csv"},
        {"sql": "SELECT * FROM people", "block": "dwh", "url": warehouse},
    ):
        with pytest.raises(AudienceError, match="no column of the audience") as caught:
            await read(where="plam = 'x'", **source)
        assert "plan" in caught.value.mend
