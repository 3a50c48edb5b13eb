"""Texts and documents that both databases take, keys in order, statements by name."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.ledger.ids import ordered_keys
from ignition_ext.ledger.rows import clean, document
from ignition_ext.ledger.statements import load_statements

ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""Lone surrogates and NUL too."""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=8,
)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(found for item in value.values() for found in texts(item))]
    if isinstance(value, list):
        return [found for item in value for found in texts(item)]
    return [value] if isinstance(value, str) else []


@given(data=st.dictionaries(ANY_TEXT, values))
def test_every_recipient_becomes_a_document(data: dict[str, Any]) -> None:
    """Strict JSON in UTF-8 without NUL, which is what jsonb takes."""
    text = document(data)

    text.encode("utf-8")
    assert not any("\0" in found for found in texts(strict(text)))


def test_a_backslash_before_u0000_is_text() -> None:
    """What merely looks like an escape of NUL is kept."""
    assert strict(document({"a": "\\u0000", "b": "x\0y"})) == {"a": "\\u0000", "b": "xy"}


@given(text=ANY_TEXT, length=st.integers(0, 20))
def test_clean_text_fits(text: str, length: int) -> None:
    """Not longer than the column, in UTF-8, without NUL."""
    cleaned = clean(text, length)

    cleaned.encode("utf-8")
    assert len(cleaned) <= length
    assert "\0" not in cleaned


def test_keys_rise_within_a_batch() -> None:
    """Also beyond the counter's 4,096, and each is a UUID of version 7."""
    keys = ordered_keys(10_000)
    ids = [UUID(key) for key in keys]

    assert keys == sorted(set(keys))
    assert ids == sorted(ids)
    assert {(key.version, key.variant) for key in ids} == {
        (7, "specified in RFC 4122"),
    }


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_statements_are_named_once(dialect: str) -> None:
    """Each is one statement, without its semicolon."""
    statements = load_statements(
        *(f"{subject}.{dialect}.sql" for subject in ("message", "lease", "part"))
    )

    assert len(statements) > 20
    for name, text in statements.items():
        assert not text.endswith(";"), name
    with pytest.raises(ValueError, match="stands twice"):
        load_statements(f"part.{dialect}.sql", f"part.{dialect}.sql")
