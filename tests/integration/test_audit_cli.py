"""The commands `audit`, `tenant` and `db`, as typed, on both databases."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ignition_ext.audit import FindingKind
from ignition_ext.cli import main
from ignition_ext.devtools.postgres import free_port
from ignition_ext.schema import head_revision

DOCS = Path(__file__).parents[2] / "docs" / "audit.md"
Run = Callable[..., "Result"]


class Result:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, " ".join(err.split())

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def ignition(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line in this process."""

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(autouse=True)
def database_setting(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("IGNITION_DATABASE_URL", database_url)
    monkeypatch.setenv("IGNITION_ACTOR", "cli:jane")


def tamper(database_url: str, statement: str) -> None:
    """Lift the guards and change something."""
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        connection.execute("DROP TRIGGER audit_log_no_update")
        connection.execute(statement)
        connection.commit()
        connection.close()
        return
    with psycopg.connect(database_url, options="-c search_path=ignition") as server:
        server.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")
        server.execute(statement.encode())


def test_a_tenant_is_created_and_listed(ignition: Run) -> None:
    """JSON on stdout alone, words on stderr."""
    made = ignition("tenant", "create", "acme", "--timezone", "Europe/Berlin", "--region", "de")
    again = ignition("tenant", "create", "acme")
    other = ignition("tenant", "create", "abc", "--locale", "de_DE", "--json")

    assert (made.code, made.out) == (0, "")
    assert (again.code, again.out) == (1, "")
    assert "already" in again.err
    assert "Mend: " in again.err
    assert (other.json["name"], other.json["locale"]) == ("abc", "de-DE")
    listed = ignition("tenant", "list", "--json").json
    assert [(row["name"], row["timezone"]) for row in listed] == [
        ("abc", "UTC"),
        ("acme", "Europe/Berlin"),
    ]
    assert "Europe/Berlin" in ignition("tenant", "list").out


def test_a_wrong_zone_is_told_with_a_mend(ignition: Run) -> None:
    """And changes nothing."""
    wrong = ignition("tenant", "create", "acme", "--timezone", "Mars/Olympus")

    assert (wrong.code, wrong.out) == (1, "")
    assert "Mars/Olympus" in wrong.err
    assert "Mend: Use an IANA name" in wrong.err
    assert ignition("tenant", "list", "--json").json == []


def test_a_tenants_settings_are_set_read_and_removed(ignition: Run) -> None:
    """Values are JSON, or the text as it stands."""
    ignition("tenant", "create", "acme")

    for key, value in (("brand.colour", "#fff"), ("retry.attempts", "5"), ("x", '["a", null]')):
        assert ignition("tenant", "set", "acme", key, value).code == 0

    settings = {"brand.colour": "#fff", "retry.attempts": 5, "x": ["a", None]}
    assert ignition("tenant", "get", "acme", "--json").json == settings
    assert ignition("tenant", "get", "acme", "retry.attempts", "--json").json == 5
    assert "brand.colour" in ignition("tenant", "get", "acme").out
    assert ignition("tenant", "set", "acme", "x", "null", "--json").json["changed"] is True
    gone = ignition("tenant", "get", "acme", "x")
    assert (gone.code, gone.out) == (1, "")
    assert ignition("tenant", "get", "nobody").err.endswith("Run: ignition tenant create nobody")


def test_the_log_is_tailed(ignition: Run) -> None:
    """The newest rows, the oldest of them first, with who acted."""
    ignition("tenant", "create", "acme")
    for number in range(4):
        ignition("tenant", "set", "acme", "x", str(number))

    rows = ignition("audit", "tail", "--tenant", "acme", "-n", "2", "--json").json
    assert [(row["seq"], row["actor"], row["after"]) for row in rows] == [
        (4, "cli:jane", {"x": 2}),
        (5, "cli:jane", {"x": 3}),
    ]
    assert ignition("audit", "tail").out.count("acme") >= 5
    assert ignition("audit", "tail", "--tenant", "nobody").code == 1
    assert ignition("audit", "tail", "-n", "0").code == 2


def test_a_changed_row_is_named(ignition: Run, database_url: str) -> None:
    """Tenant, row and what happened; exit 1 with and without --json."""
    ignition("tenant", "create", "acme")
    ignition("tenant", "create", "other")
    ignition("tenant", "set", "acme", "x", "1")
    fine = ignition("audit", "verify", "--json")
    assert (fine.code, fine.json["holds"]) == (0, True)
    assert ignition("audit", "verify").code == 0

    tamper(database_url, "UPDATE audit_log SET actor = 'mallory' WHERE tenant_id = 1 AND seq = 2")

    broken = ignition("audit", "verify")
    assert broken.code == 1
    assert "Error: tenant 'acme', audit row 2: its content was changed." in broken.err
    document = ignition("audit", "verify", "--json")
    assert (document.code, document.json["holds"]) == (1, False)
    chains = {chain["tenant"]: chain["findings"] for chain in document.json["chains"]}
    assert [(found["seq"], found["kind"]) for found in chains["acme"]] == [(2, "changed")]
    assert ignition("audit", "verify", "--tenant", "other").code == 0


def test_a_checkpoint_is_written_and_checked_by_a_third_party(
    ignition: Run, tmp_path: Path
) -> None:
    """With the docs' own program, which knows nothing of Ignition."""
    ignition("tenant", "create", "acme", "--title", "Größe")
    path, program = tmp_path / "checkpoint.json", tmp_path / "check.py"
    blocks = re.findall(r"^```python\n(.+?)^```", DOCS.read_text(), re.M | re.S)
    program.write_text(blocks[0])

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, program, path], capture_output=True, text=True, check=False
        )

    printed = ignition("audit", "export").json
    assert printed["chains"][0]["seq"] == 1
    assert ignition("audit", "export", str(path)).out == ""
    assert ignition("audit", "verify", "--checkpoint", str(path)).code == 0
    assert check().stdout == "The signature holds.\n"

    path.write_text(path.read_text().replace('"seq": 1', '"seq": 2'))
    assert "InvalidSignature" in check().stderr
    changed = ignition("audit", "verify", "--checkpoint", str(path))
    assert (changed.code, changed.out) == (1, "")
    assert "was changed since it was signed" in changed.err
    assert ignition("audit", "export", str(tmp_path / "no" / "folder.json")).code == 1


def test_a_foreign_key_is_given_on_the_command_line(
    ignition: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`audit key` of one node is what `audit verify` of another takes."""
    ignition("tenant", "create", "acme")
    public = tmp_path / "public.pem"
    public.write_text(ignition("audit", "key").out)
    monkeypatch.setenv("IGNITION_AUDIT_KEY_FILE", str(tmp_path / "other.pem"))

    unknown = ignition("audit", "verify")
    assert unknown.code == 1
    assert "--public-key" in unknown.err
    assert ignition("audit", "verify", "--public-key", str(public)).code == 0
    key = ignition("audit", "key", "--json").json
    assert key["key_id"] not in public.read_text()

    ignition("tenant", "set", "acme", "x", "1")
    unsigned = ignition("audit", "verify", "--public-key", str(public))
    assert "ignition audit sign --tenant acme" in unsigned.err
    assert ignition("audit", "sign", "--tenant", "acme", "--public-key", str(public)).code == 0
    assert ignition("audit", "verify", "--public-key", str(public)).code == 0


def test_the_kinds_of_findings_are_documented() -> None:
    """Each with what it means."""
    described = set(re.findall(r"^\| `(\w+)` \| \w", DOCS.read_text(), re.M))
    assert described == {kind.value for kind in FindingKind}


def test_upgrading_twice_changes_nothing(ignition: Run) -> None:
    """And says so."""
    document = ignition("db", "upgrade", "--json").json

    assert (document["before"], document["after"]) == (head_revision(), head_revision())
    assert "already" in ignition("db", "upgrade").err


def test_the_analysts_role_is_printed(ignition: Run) -> None:
    """SQL on stdout and nothing else; a name that could break out of it is refused."""
    assert (
        "GRANT USAGE ON SCHEMA analytics TO readers;"
        in ignition("db", "analyst-role", "--name", "readers").out
    )
    assert "ignition_analyst" in ignition("db", "analyst-role", "--json").json["sql"]
    assert ignition("db", "analyst-role", "--name", "x; DROP TABLE y").code == 1


@pytest.mark.parametrize("command", [("tenant", "list"), ("audit", "verify"), ("db", "upgrade")])
def test_a_server_that_is_away_gives_one_message(
    ignition: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """No traceback, no password, exit 1, nothing on stdout."""
    url = f"postgresql://jane:s3cret@127.0.0.1:{free_port()}/ignition"
    monkeypatch.setenv("IGNITION_DATABASE_URL", url)

    away = ignition(*command, "--json")

    assert (away.code, away.out) == (1, "")
    assert away.err.startswith("Error: the database")
    assert "Mend: Check IGNITION_DATABASE_URL" in away.err
    assert "s3cret" not in away.err
    assert "Traceback" not in away.err
