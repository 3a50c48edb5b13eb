"""``ignition audience`` as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ignition_ext.cli import main
from ignition_ext.database import Database
from ignition_ext.models import Tenant

SAMPLE = Path(__file__).parents[3] / "deployments" / "acme" / "customers.csv"


@dataclass
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def ignition(
    database: Database,
    tenant: Tenant,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Done]:
    """Runs ``ignition audience …``."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(["audience", *arguments])
        out, err = capfd.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return run


def test_the_sample_is_imported_listed_and_shown(
    ignition: Callable[..., Done], tmp_path: Path
) -> None:
    rejects = tmp_path / "bad.csv"
    where = ("--tenant", "acme")

    done = ignition(
        *("import", str(SAMPLE), *where, "--name", "customers", "--rejects", str(rejects), "--json")
    )
    listed = ignition("list", *where, "--json")
    shown = ignition("show", "customers", *where)

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["imported"], result["duplicates"], result["rejected"]) == (1000, 26, 25)
    assert result["rejects_path"] == str(rejects)
    assert rejects.read_text().startswith("line,field,value,reason,kept\n")
    assert [row["size"] for row in json.loads(listed.stdout)] == [1000]
    assert "renewal_date" in shown.stdout
    assert done.stderr == listed.stderr == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [("name\nAnn\n", "no email or phone column"), ("email\nbad\n", "none of 1 rows")],
)
def test_a_file_without_a_good_row_fails_with_a_mend(
    ignition: Callable[..., Done], tmp_path: Path, content: str, says: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)

    done = ignition("import", str(path), "--tenant", "acme", "--name", "people")

    assert done.returncode == 1
    assert done.stdout == ""
    assert says in done.stderr
    assert "Mend: " in done.stderr


def test_what_is_not_there_is_told(ignition: Callable[..., Done]) -> None:
    for arguments in (("list", "--tenant", "nobody"), ("show", "people", "--tenant", "acme")):
        done = ignition(*arguments)
        assert done.returncode == 1
        assert "Mend: Run: ignition" in done.stderr.replace("\n", " ")
    assert ignition("import", "--tenant", "acme").returncode == 2
