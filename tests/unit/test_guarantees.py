from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_promise_names_a_test_that_there_is() -> None:
    """A test that is renamed or removed takes its promise along."""
    named = NAMED.findall((ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8"))

    assert len(named) > 25
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M), name


def test_each_fault_that_is_tested_is_promised() -> None:
    """What is shown is also said."""
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.M):
            assert f"`tests/faults/{path.name}::{name}`" in page, name
