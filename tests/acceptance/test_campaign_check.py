"""``ignition campaign check`` as an operator calls it: a server that is asked, and gets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks import SmtpServer
from ignition_ext.devtools.demo_stack import RecordingServer
from ignition_ext.devtools.stack import PrefectServer

Command = Any


@pytest.fixture
def mail(tmp_path: Path, tenant_name: str, prefect: PrefectServer) -> Iterator[RecordingServer]:
    with RecordingServer("capture_smtp", tmp_path / "mail") as server:
        block = SmtpServer(host="127.0.0.1", port=server.port, security="none")
        block.save(f"{tenant_name}-mail", _sync=True)
        yield server


@pytest.fixture
def letter(
    mail: RecordingServer,
    sqlite_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tenant_name: str,
    ignition_here: Command,
) -> str:
    """A campaign to three people, one of whom has no name."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    template = tmp_path / "letter"
    template.mkdir()
    (template / "subject.txt").write_text("Hello {{ name }}")
    (template / "body.txt").write_text("Dear {{ name }}, {{ 12 // (share | int) }}\n")
    people = ("email,name,share", "ada@people.example,Ada,2", "bo@people.example,,3")
    (tmp_path / "people.csv").write_text("\n".join([*people, "cy@people.example,Cy,4", ""]))
    file = tmp_path / "letter.yaml"
    file.write_text(
        f"name: letter\ntenant: {tenant_name}\nchannel: email\naudience: {{csv: people.csv}}\n"
        f"template: letter\nblock: {tenant_name}-mail\nfrom: Acme <news@acme.example>\n"
        "throttle: {per_second: 3}\n"
    )
    for arguments in (
        ("tenant", "create", tenant_name),
        ("template", "push", template, "--tenant", tenant_name, "--publish"),
        ("campaign", "apply", file),
    ):
        done = ignition_here(*arguments)
        assert done.code == 0, done.err
    return f"{tenant_name}/letter"


def test_a_check_says_what_a_run_would_do_and_sends_nothing(
    letter: str, mail: RecordingServer, ignition_here: Command
) -> None:
    """One JSON document, with what scripts want of it; the samples are what would go out."""
    done = ignition_here("campaign", "check", letter, "--json", "--samples", "1")

    assert (done.code, done.err) == (0, "")
    document = done.document
    assert document["would_run"] is True
    assert document["counts"]["messages"] == 3
    assert document["empty"] == {"name": {"recipients": 1, "rows": [3]}}
    assert document["server"]["answered"] is True
    assert document["estimate"]["seconds"] == 1
    (sample,) = document["samples"]
    assert (sample["to"], sample["subject"]) == ("ada@people.example", "Hello Ada")
    assert sample["text"].strip() == "Dear Ada, 6"
    assert not mail.record.exists() or mail.record.read_text() == ""


def test_a_check_that_would_refuse_the_run_exits_with_1_and_says_why(
    letter: str, mail: RecordingServer, tmp_path: Path, ignition_here: Command
) -> None:
    """For people: the finding with its mend, the row, and no address of anybody."""
    (tmp_path / "people.csv").write_text("email,name,share\nada@people.example,Ada,none\n")
    done = ignition_here("campaign", "check", letter)

    assert done.code == 1
    assert "refused; would send 0 (1 cannot be sent)" in done.out
    assert "error: 1 of 1 messages (100.0 %) cannot go out" in done.out
    assert "preflight.unfit_percent" in done.out
    assert "row 2, a…@people.example" in done.out
    assert "ada@" not in done.out
    assert not mail.record.exists() or mail.record.read_text() == ""


def test_a_check_of_nothing_says_so(letter: str, ignition_here: Command) -> None:
    """Neither a campaign that is not there nor a way of writing it ends in a traceback."""
    for reference in ("nobody/nothing", "letter"):
        done = ignition_here("campaign", "check", reference)

        assert done.code == 1
        assert done.err.startswith("Error: ")
