"""What is hashed is the same for equal values, and holds no addresses."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.audit.canonical import AuditRow, canonical, instant, normalise, row_hash
from ignition_ext.audit.privacy import redact, redact_text

ROW = AuditRow(
    tenant_id=1,
    seq=1,
    at=datetime(2026, 11, 21, 8, 0, 0, 5, tzinfo=UTC),
    actor="cli:jane",
    action="tenant.created",
    subject="tenant:acme",
    before=None,
    after={"name": "acme", "share": 0.5, "größe": 1.0},
    previous_hash="0" * 64,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def test_the_hash_is_what_the_docs_say() -> None:
    """A value worked out by hand from docs/audit.md; it must never change."""
    document = (
        '{"action":"tenant.created","actor":"cli:jane",'
        '"after":{"größe":1,"name":"acme","share":0.5},'
        '"at":"2026-11-21T08:00:00.000005Z","before":null,'
        f'"previous_hash":"{"0" * 64}","seq":1,"subject":"tenant:acme","tenant_id":1,"v":1}}'
    )
    assert row_hash(ROW) == hashlib.sha256(document.encode()).hexdigest()


@given(json_values)
def test_normalising_is_final(value: Any) -> None:
    """What comes back from a database is normal already, also after another trip through JSON."""
    once = normalise(value)

    assert normalise(once) == once
    assert normalise(json.loads(json.dumps(once))) == once


@given(st.dictionaries(st.text(), json_values))
def test_canonical_json_is_json_in_one_form(document: dict[str, Any]) -> None:
    """The order of keys does not matter, and reading it gives the normal value."""
    text = canonical(document)

    assert json.loads(text) == normalise(document)
    assert canonical(dict(reversed(list(normalise(document).items())))) == text


def test_a_time_is_hashed_in_utc() -> None:
    """The same moment, whatever zone it is written in."""
    east = timezone(timedelta(hours=5, minutes=45))

    assert instant(ROW.at.astimezone(east)) == instant(ROW.at) == "2026-11-21T08:00:00.000005Z"


@pytest.mark.parametrize(
    "text",
    [
        "bob@example.com",
        "Bob <bob.o'hara+news@mail.example.co.uk>",
        "mailto:bob@example.com?subject=x",
        "用户@例子.公司",
        "b@xn--fiqs8s.xn--55qx5d",
        "+4917112345678",
        "+49 171 1234-5678",
        "tel:+1 (555) 123-4567",
        "0171 12345678",
        "0171/1234567",
        "004917112345678",
        "01711234567",
        "555-123-4567",
        "(555) 123-4567",
    ],
)
def test_an_address_is_replaced(text: str) -> None:
    """In whatever it stands; nothing of it is left."""
    stored = redact({text: [f"because {text} complained", {"x": text}]})

    assert not set("0123456789@") & set(json.dumps(stored, ensure_ascii=False))
    assert "bob" not in json.dumps(stored)


@pytest.mark.parametrize(
    "text",
    [
        "welcome@3",
        "2026-11-21T08:00:00.000005Z",
        "2026-11-21 08:00:00+01:00",
        "2026-11-21T08:00:00+0100",
        "0192f0c0-c0c0-7000-8000-000000000001",
        "00000000-0000-0000-0000-000000000012",
        "0" * 64,
        "c9ebc9e37e46f2da0117123456789012345678901234567890123456789012ab",
        "0 8 * * MON-FRI",
        "21:00-08:00",
        "1.10.0",
        "campaign:welcome",
        "0x00000058",
        "127.0.0.1:2775",
        "deployments/acme/welcome.yaml",
        "1000000 messages",
        "@media",
    ],
)
def test_what_only_looks_a_little_like_one_stays(text: str) -> None:
    """Times, ids, hashes, versions, schedules and paths are what audit rows are made of."""
    assert redact_text(text) == text
