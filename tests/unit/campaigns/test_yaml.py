"""YAML as campaign files have it: lines are right, traps and bombs are not in it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ignition_ext.campaigns.yaml import MAX_BYTES, YamlError, parse


def test_every_value_knows_its_line() -> None:
    """Keys, items, and what is inside of them, in block and flow style."""
    document = parse(b"# head\na: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n")

    assert document.value == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 1): 5,
        ("b", 1, "c"): 5,
        ("b", 1, "d"): 6,
    }
    assert document.line(("b", 1, "nothing", "here")) == 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("NO", "NO"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("21:00-08:00", "21:00-08:00"),
        ("2026-11-21", "2026-11-21"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("+491701234567", 491701234567),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("~", None),
        ("null", None),
        ("", None),
        ('"7"', "7"),
        ("'true'", "true"),
        ('""', ""),
        ("1" * 40, "1" * 40),
    ],
)
def test_a_word_means_what_stands_there(text: str, value: Any) -> None:
    """Only YAML 1.2's core schema: no Norway, no sexagesimal, no octal, no dates."""
    parsed = parse(f"a: {text}\n".encode()).value["a"]
    assert parsed == value
    assert type(parsed) is type(value)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "stands twice; first on line 1"),
        ("a:\n  b: 1\n  b: 2\n", 3, "stands twice; first on line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "tag"),
        ("a: 1\nb: !include x.yaml\n", 2, "tag"),
        ("? [a, b]\n: 1\n", 1, "a key must be a word"),
        ("a: [1\nb: 2\n", 2, "expected"),
        ("a: 1\n---\nb: 2\n", 2, "document"),
        ("a: *b\n", 1, "undefined alias"),
        ("a: &x [*x]\n", 1, "deeply"),
        (BOMB, 1, "too much"),
        ('a: 1\nb: "\\ud800"\n', 2, "half a character"),
        ('a: 1\n"b\\0": 1\n', 2, "NUL"),
        ("a: 1\nb: \x07\n", 2, "character"),
        ("[" * 30 + "]" * 30, 1, "deeply"),
        ("[" * 100_000, 0, "deeply"),
        ("a: 1\n\tb: 2\n", 2, ""),
    ],
)
def test_what_is_not_taken_is_told_with_its_line(text: str, line: int, words: str) -> None:
    """Neither tags nor bombs nor doubled keys come through."""
    with pytest.raises(YamlError) as caught:
        parse(text.encode())
    assert words in str(caught.value)
    assert caught.value.line == line


def test_other_encodings_and_sizes_are_refused() -> None:
    """A binary file and a huge one are told as such; a byte order mark is not in the way."""
    with pytest.raises(YamlError, match="not UTF-8") as caught:
        parse(b"a: 1\nb: \xff\xfe")
    assert caught.value.line == 2
    with pytest.raises(YamlError, match="at most"):
        parse(b"#" * (MAX_BYTES + 1))
    assert parse(b"\xef\xbb\xbfa: 1").value == {"a": 1}


_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=20,
)


@given(_json)
@example(-(10**17))
def test_json_is_read_as_json(value: Any) -> None:
    """JSON is YAML 1.2: quoted as JSON has it, every document means the same."""
    assert parse(json.dumps(value).encode()).value == value


@given(st.binary(max_size=300))
def test_any_bytes_give_a_document_or_one_error(data: bytes) -> None:
    """Nothing but YamlError comes out of a wrong file."""
    with suppress(YamlError):
        parse(data)
