"""``ignition suppression`` as an operator types it."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ACME = ("--tenant", "acme")


def test_added_addresses_are_listed_and_removed(ignition: Callable[..., Any], office: Any) -> None:
    """By channel, in the spelling of audiences; removing needs a reason and is audited."""
    added = ignition(
        "suppression", "add", "Ada@B.example", "0151 23456789", *ACME, "--detail", "x", "--json"
    )
    again = ignition("suppression", "add", "ada@b.example", *ACME)
    listed = ignition("suppression", "list", *ACME, "--json")
    shown = ignition("suppression", "list", *ACME, "--channel", "sms")

    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout) == {"tenant": "acme", "added": 2, "known": 0}
    assert "0 added, 1 stood there already" in again.stderr
    rows = {row.pop("address"): row for row in json.loads(listed.stdout)}
    assert set(rows) == {"ada@b.example", "+4915123456789"}
    assert rows["+4915123456789"].pop("created_at").endswith("Z")
    assert rows["+4915123456789"] == {
        "channel": "sms",
        "reason": "manual",
        "detail": "x",
        "actor": "cli:jane",
    }
    assert "+4915123456789" in shown.stdout
    assert "ada@b.example" not in shown.stdout
    assert "email manual 1, sms manual 1" in shown.stderr

    assert ignition("suppression", "remove", "ada@b.example", *ACME).returncode == 2
    removed = ignition(
        *("suppression", "remove", "ADA@b.example", "c@b.example", *ACME),
        *("--reason", "a@b.example asked", "--json"),
    )

    assert json.loads(removed.stdout) == {"tenant": "acme", "removed": 1, "unknown": 1}
    (told,) = asyncio.run(office.audited("suppression.removed"))
    assert (told.actor, told.after) == ("cli:jane", {"detail": "[email] asked"})


def test_what_is_no_address_is_refused(ignition: Callable[..., Any], office: Any) -> None:
    """The others are not stored either: the operator mends the command and calls it again."""
    done = ignition("suppression", "add", "ada@b.example", "nobody", *ACME)

    assert done.returncode == 1
    assert "'nobody' cannot be written to by sms" in done.stderr
    assert "Mend:" in done.stderr
    assert asyncio.run(office.suppressed()) == []


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """A file as another program exports it."""
    path = tmp_path / "optouts.csv"
    path.write_text(
        "E-Mail;Mobile;Reason\n"
        "Ada@b.example;;bounce\n"
        "bob@b.example;0151 23456789;asked\n"
        "nobody;;\n"
        "ada@b.example;;opt_out\n",
        encoding="utf-8",
    )
    return path


def test_a_file_is_imported_once(
    ignition: Callable[..., Any], office: Any, listing: Path, tmp_path: Path
) -> None:
    """Bad rows are told of; a reason that is one of ours is kept; the same file adds nothing."""
    rejects = tmp_path / "bad.csv"
    first = ignition(
        "suppression", "import", str(listing), *ACME, "--rejects", str(rejects), "--json"
    )
    second = ignition("suppression", "import", str(listing), *ACME, "--json")

    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    assert result["added"] == {"email": 2, "sms": 1}
    assert (result["known"], result["rejected"]) == (1, 1)
    assert rejects.read_text().count("\n") == 2
    again = json.loads(second.stdout)
    assert (again["added"], again["known"]) == ({"email": 0, "sms": 0}, 4)
    rows = {row.address: row.reason for row in asyncio.run(office.suppressed())}
    assert rows == {
        "ada@b.example": "bounce",
        "bob@b.example": "imported",
        "+4915123456789": "imported",
    }
    for told in asyncio.run(office.audited("suppression.added")):
        assert (told.actor, told.after["detail"]) == ("cli:jane", "imported from a file")
        assert "example" not in json.dumps(told.after)


def test_one_channel_of_a_file(ignition: Callable[..., Any], office: Any, listing: Path) -> None:
    """The other column is left alone."""
    done = ignition(
        *("suppression", "import", str(listing), *ACME, "--channel", "sms"),
        *("--reason", "opt_out"),
    )

    assert done.returncode == 0, done.stderr
    rows = [(row.address, row.reason) for row in asyncio.run(office.suppressed())]
    assert rows == [("+4915123456789", "opt_out")]


def test_a_list_that_was_exported_can_be_imported(
    ignition: Callable[..., Any], office: Any, tmp_path: Path
) -> None:
    """Also more than a page of it, and addresses that a spreadsheet would calculate."""
    people = [f"u{number}@b.example" for number in range(2100)]
    asyncio.run(office.suppress("=joe@b.example", "-ann@b.example", *people))
    ignition("suppression", "add", "0151 23456789", *ACME, "--reason", "opt_out")
    path = tmp_path / "list.csv"

    done = ignition("suppression", "export", *ACME, "--output", str(path))

    assert done.returncode == 0, done.stderr
    assert "2,103 addresses" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "email,'=joe@b.example,," in path.read_text()
    before = {(row.address, row.reason) for row in asyncio.run(office.suppressed())}
    assert asyncio.run(office.lift("=joe@b.example", "-ann@b.example", *people)) == 2102
    ignition("suppression", "import", str(path), *ACME)
    assert {(row.address, row.reason) for row in asyncio.run(office.suppressed())} == before


def test_json_lines_of_one_reason(ignition: Callable[..., Any], office: Any) -> None:
    """One object a line on stdout, and nothing else there."""
    asyncio.run(office.suppress("ada@b.example"))
    ignition("suppression", "add", "bob@b.example", *ACME, "--reason", "bounce")

    done = ignition("suppression", "export", *ACME, "--format", "jsonl", "--reason", "bounce")

    (line,) = done.stdout.splitlines()
    assert json.loads(line)["address"] == "bob@b.example"


def test_a_tenant_that_does_not_exist_is_told(ignition: Callable[..., Any]) -> None:
    """With what to do about it."""
    done = ignition("suppression", "list", "--tenant", "nobody")

    assert done.returncode == 1
    assert "there is no tenant 'nobody'" in done.stderr
