"""The rejects file is whole or absent, and no spreadsheet runs what stands in it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignition_ext.audience.contract import Problem
from ignition_ext.audience.rejects import Rejects, rejects_path_of, spreadsheet_safe
from ignition_ext.errors import AudienceError


def problem(value: str) -> Problem:
    return Problem(line=3, field="email", value=value, reason="bad", kept=False)


def test_nothing_wrong_leaves_no_file(tmp_path: Path) -> None:
    rejects = Rejects(tmp_path / "r.csv")

    assert rejects.commit() is None
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rejects = Rejects(path)
    rejects.add(problem("x"))

    assert not path.exists()
    assert rejects.commit() == path
    assert list(csv.reader(path.read_text().splitlines())) == [
        ["line", "field", "value", "reason", "kept"],
        ["3", "email", "x", "bad", "no"],
    ]
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o077 == 0


def test_discarding_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("before")
    rejects = Rejects(path)
    rejects.add(problem("x"))
    rejects.discard()

    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudienceError, match="cannot be written") as caught:
        Rejects(tmp_path / "no" / "r.csv").add(problem("x"))

    assert "--rejects" in caught.value.mend


@pytest.mark.parametrize("value", ["=1+2", "+49", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1"])
def test_formulas_are_defused(value: str) -> None:
    assert spreadsheet_safe(value) == f"'{value}"


@settings(deadline=None)
@given(st.text() | st.text("=+-@ \t\r\n\udcfc", max_size=8))
def test_no_value_begins_a_formula_or_breaks_the_encoding(value: str) -> None:
    safe = spreadsheet_safe(value)

    assert not safe.lstrip(" \n").startswith(("=", "+", "-", "@", "\t", "\r"))
    safe.encode("utf-8")


def test_the_default_name_stands_beside_the_source() -> None:
    assert rejects_path_of(Path("a/people.csv")) == Path("a/people.rejects.csv")
