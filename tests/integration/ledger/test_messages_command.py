"""``ignition messages list`` in a process of its own, as an operator or a script calls it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from ignition_ext.ledger.export import COLUMNS, csv_cell
from ignition_ext.values import Channel, FailureClass, Outcome, OutcomeKind

EVIL = '=HYPERLINK("x")\r\n"ü"'
PHONES = ["+4917012345678", "+4917012345679"]


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What the command does before or after the ledger answers: each call starts a process."""


@pytest.fixture
async def ask(scene: Any, database_url: str) -> Any:
    """A run with a failed and a pending SMS, and the command on its database."""
    run = await scene.run(PHONES[0], channel=Channel.SMS)
    lease, ids = await scene.sending(run)
    refused = Outcome(
        kind=OutcomeKind.REJECTED, code="-1", text=EVIL, failure_class=FailureClass.CONTENT
    )
    await scene.settle(run, lease, ids[PHONES[0]], refused)
    await scene.snapshot(run, PHONES[1], channel=Channel.SMS)

    def call(
        *arguments: str, run_name: str = str(run.id), before: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [
                sys.executable,
                "-c",
                f"{before}\nfrom ignition_ext.cli import main; main()",
                "messages",
                "list",
                "--run",
                run_name,
                *arguments,
            ],
            env=os.environ | {"IGNITION_DATABASE_URL": database_url, "COLUMNS": "200"},
            capture_output=True,
            check=False,
        )

    return call


def test_every_format_tells_the_same(ask: Any, tmp_path: Path) -> None:
    """CSV, JSON Lines, JSON and Parquet hold both messages and all columns."""
    as_json = json.loads(ask("--json").stdout)
    lines = [json.loads(line) for line in ask("--format", "jsonl").stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(ask("--format", "csv").stdout.decode(), newline="")))
    target = tmp_path / "messages.parquet"
    done = ask("--format", "parquet", "--output", str(target))
    table = pyarrow.parquet.read_table(target)

    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert [path.name for path in tmp_path.glob("messages*")] == ["messages.parquet"]
    assert as_json == lines
    assert [row["address"] for row in as_json] == PHONES
    assert as_json[0]["detail"] == EVIL
    assert tuple(as_json[0]) == tuple(rows[0]) == tuple(table.column_names) == COLUMNS
    # Neither the words of a server nor its code run as formulas; the number stays a number.
    assert (rows[0]["detail"], rows[0]["code"]) == (f"'{EVIL}", "'-1")
    assert [row["address"] for row in rows] == PHONES
    assert table["detail"].to_pylist() == [EVIL, ""]
    assert table["attempts"].to_pylist() == [1, 0]
    assert str(table["updated_at"].to_pylist()[0].tzinfo) == "UTC"


@on_sqlite
def test_states_choose_the_messages(ask: Any) -> None:
    """One or more; a campaign's name means its latest run."""
    failed = json.loads(ask("--json", "--state", "failed", run_name="acme/welcome").stdout)
    both = json.loads(ask("--json", "--state", "failed", "pending").stdout)
    none = json.loads(ask("--json", "--state", "sent").stdout)
    table = ask("--state", "failed").stdout.decode()

    assert [row["address"] for row in failed] == PHONES[:1]
    assert len(both) == 2
    assert none == []
    assert PHONES[0] in table
    assert PHONES[1] not in table


@on_sqlite
def test_what_cannot_be_is_said(ask: Any, tmp_path: Path) -> None:
    """An unknown run, a table into a file, a folder that is not there: exit 1 with a mend."""
    missing = str(tmp_path / "none" / "x.csv")
    for arguments, name in (
        (["--json"], "acme/nothing"),
        (["--output", missing], "acme/welcome"),
        (["--format", "csv", "--output", missing], "acme/welcome"),
    ):
        done = ask(*arguments, run_name=name)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"Error: " in done.stderr
        assert b"Mend: " in done.stderr
    assert ask("--state", "lost").returncode == 2


@on_sqlite
def test_parquet_says_what_it_needs(ask: Any, tmp_path: Path) -> None:
    """Without pyarrow: exit 1, the package to install, and no file left behind."""
    target = tmp_path / "messages.parquet"
    blocked = "import sys; sys.modules['pyarrow'] = None"

    done = ask("--format", "parquet", "--output", str(target), before=blocked)

    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Error: writing Parquet needs pyarrow" in done.stderr
    assert b"prefect-ignition[parquet]" in done.stderr
    assert list(tmp_path.glob("messages*")) == []


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (3, "3"),
        ("+4917012345678", "+4917012345678"),
        ("+49-1", "'+49-1"),
        ("+1+cmd", "'+1+cmd"),
        ("=1", "'=1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("a=1", "a=1"),
    ],
)
def test_a_cell_is_never_a_formula(value: Any, cell: str) -> None:
    """What a spreadsheet would compute starts with a quote."""
    assert csv_cell(value) == cell
