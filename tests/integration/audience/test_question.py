"""A yes-or-no question to the operator's own database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ignition_ext.audience.question import ask_database
from ignition_ext.errors import AudienceError


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("empty_postgres_url")
        return url
    with sqlite3.connect(tmp_path / "warehouse.db") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    return f"sqlite:///{tmp_path}/warehouse.db"


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT 2 > 1", True),
        ("SELECT 1 > 2 ;", False),
        ("SELECT 1", True),
        ("SELECT 0, 'and more'", False),
        ("SELECT CASE WHEN '10:00' < '11:00' THEN 1 ELSE 0 END", True),
    ],
)
async def test_it_is_answered(warehouse: str, query: str, answer: bool) -> None:
    """By the first column of the only row, whatever the database has for truth."""
    assert await ask_database(warehouse, query, block="warehouse") is answer


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 1 WHERE 1 = 2", "no rows"),
        ("SELECT 1 UNION SELECT 0", "several rows"),
        ("SELECT 7", "returns 7"),
        ("SELECT NULL", "returns None"),
        ("SELECT 'true'", "returns 'true'"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("CREATE TABLE mine (id integer)", ""),
    ],
)
async def test_everything_else_is_an_error(warehouse: str, query: str, words: str) -> None:
    """Never a guess, and nothing is ever written."""
    with pytest.raises(AudienceError, match="warehouse") as caught:
        await ask_database(warehouse, query, block="warehouse")
    assert words in caught.value.message
