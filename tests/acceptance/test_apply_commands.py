"""The commands, as an operator types them: from ``init`` to a run that was followed to its end."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import SmtpServer
from ignition_ext.devtools.demo_stack import RecordingServer
from ignition_ext.devtools.stack import PrefectServer, WarmWorker
from ignition_ext.values import MessageState

Command = Any
DATABASE = "IGNITION_DATABASE_URL"
STATES = {state.value for state in MessageState} | {"total"}


@pytest.fixture
def shop(
    prefect: PrefectServer,
    sqlite_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tenant_name: str,
    ignition_here: Command,
) -> Path:
    """A tenant with all that a campaign needs; gives the campaign's file."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / tenant_name
    template = folder / "letter"
    template.mkdir(parents=True)
    (template / "subject.txt").write_text("Hello {{ first_name }}")
    (template / "body.txt").write_text("Dear {{ first_name }}, all is well.\n")
    rows = "\n".join(f"p{number}@people.example,P{number}" for number in range(40))
    (folder / "people.csv").write_text(f"email,first_name\n{rows}\n")
    file = folder / "letter.yaml"
    file.write_text(
        f"name: letter\ntenant: {tenant_name}\nchannel: email\naudience: {{csv: people.csv}}\n"
        f"template: letter\nblock: {tenant_name}-mail\nfrom: Acme <news@acme.example>\n"
    )
    assert ignition_here("tenant", "create", tenant_name).code == 0
    pushed = ignition_here("template", "push", template, "--tenant", tenant_name, "--publish")
    assert pushed.code == 0, pushed.err
    return file


@pytest.fixture
def mail(tmp_path: Path, tenant_name: str, shop: Path) -> Iterator[RecordingServer]:
    """The capture server that the tenant's block names."""
    with RecordingServer("capture_smtp", tmp_path / "mail") as server:
        block = SmtpServer(host="127.0.0.1", port=server.port, security="none")
        block.save(f"{tenant_name}-mail", _sync=True)
        yield server


def delivered(mail: RecordingServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in mail.record.read_text().splitlines()]


@pytest.mark.timeout(600)  # three runs, each of which starts Python and Prefect anew
def test_a_campaign_is_applied_run_and_followed(
    prefect: PrefectServer,
    shop: Path,
    mail: RecordingServer,
    tenant_name: str,
    ignition: Command,
    ignition_here: Command,
) -> None:
    """Apply, list, show, dry run, run with a limit, run whole; the counts are what arrived."""
    reference = f"{tenant_name}/letter"
    applied = ignition_here("campaign", "apply", shop)
    assert (applied.code, applied.out) == (0, ""), applied.err
    assert "version 1 stored; deployment created" in applied.err
    assert "nothing to change" in ignition_here("campaign", "apply", shop).err
    assert [row["campaign"] for row in ignition_here("campaign", "list", "--json").document] == [
        reference
    ]
    shown = ignition_here("campaign", "show", reference, "--json").document
    assert shown["definition"]["audience"] == {"csv": "people.csv"}

    with WarmWorker(prefect, "email", environment={DATABASE: os.environ[DATABASE]}):
        dry = ignition_here("campaign", "run", reference, "--wait", "--dry-run", "--json")
        assert dry.code == 0, dry.err
        assert (dry.document["state"], dry.document["run_id"]) == ("completed", None)
        assert delivered(mail) == []
        few = ignition_here("campaign", "run", reference, "--wait", "--limit", "3", "--json")
        assert few.code == 0, few.err
        assert few.document["counts"]["total"] == few.document["counts"]["sent"] == 3
        whole = ignition("campaign", "run", reference, "--wait", "--json")

    assert whole.code == 0, whole.err
    status = whole.document
    assert set(status["counts"]) == STATES
    assert status["state"] == "completed"
    assert status["counts"]["sent"] == status["counts"]["total"] == 40
    assert status["rate"] > 0
    assert status["started_at"] < status["ended_at"]
    assert len(delivered(mail)) == 43
    by_run = ignition_here("campaign", "status", status["run_id"], "--json").document
    by_flow_run = ignition_here("campaign", "status", status["flow_run_id"], "--json").document
    latest = ignition_here("campaign", "status", reference, "--json").document
    assert by_run == by_flow_run == latest
    ended = ignition_here("campaign", "cancel", status["run_id"])
    assert ended.code == 1
    assert "has ended" in ended.err


def test_a_run_that_no_worker_began_is_told_and_can_be_cancelled(
    shop: Path, mail: RecordingServer, tenant_name: str, ignition_here: Command
) -> None:
    """Its id is printed at once; status asks Prefect; cancel ends it there."""
    assert ignition_here("campaign", "apply", shop).code == 0
    started = ignition_here("campaign", "run", f"{tenant_name}/letter")
    flow_run = started.out.strip()

    status = ignition_here("campaign", "status", flow_run, "--json").document
    assert (status["state"], status["flow_run_id"]) == ("scheduled", flow_run)
    assert set(status["counts"]) == STATES
    assert set(status["counts"].values()) == {0}
    assert ignition_here("campaign", "cancel", flow_run).code == 0
    assert "has ended" in ignition_here("campaign", "cancel", flow_run).err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("campaign", "status", "{t}/letter"), 1, "has not run yet"),
        (("campaign", "status", "0197aa00-0000-7000-8000-000000000000"), 1, "there is no run"),
        (("campaign", "run", "{t}/letter"), 1, "ignition campaign apply FILE"),
        (("campaign", "run", "letter"), 1, "TENANT/NAME"),
        (("campaign", "run", "{t}/letter", "--limit", "0"), 2, "--limit"),
        (("campaign", "show", "{t}/letter"), 1, "there is no campaign"),
        (("campaign", "show", "nobody/letter"), 1, "ignition tenant create nobody"),
        (("campaign", "delete", "{t}/letter"), 1, "there is no campaign"),
        (("campaign", "pause", "{t}/letter"), 1, "Error"),
        (("campaign", "cancel", "{t}/letter"), 1, "there is no run"),
        (("campaign", "apply"), 2, "FILES"),
        (("campaign", "apply", "none.yaml"), 1, "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_not_there_is_told_with_a_mend(
    shop: Path,
    tenant_name: str,
    ignition_here: Command,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    """One message on stderr, nothing on stdout, and the exit code of the house."""
    done = ignition_here(*(argument.format(t=tenant_name) for argument in arguments))
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "Traceback" not in done.err


def test_nothing_is_applied_when_one_of_the_files_is_wrong(
    shop: Path, mail: RecordingServer, ignition_here: Command
) -> None:
    """All files are checked before the first is carried out; two of one name are refused."""
    wrong = shop.with_name("wrong.yaml")
    wrong.write_text(shop.read_text().replace("template:", "tmplate:"))
    done = ignition_here("campaign", "apply", shop, wrong)
    assert done.code == 1
    assert f"{wrong}:5: tmplate" in done.err
    assert ignition_here("campaign", "list", "--json").document == []

    twin = shop.with_name("twin.yaml")
    twin.write_text(shop.read_text())
    assert "both describe" in ignition_here("campaign", "apply", shop, twin).err
    assert ignition_here("campaign", "list", "--json").document == []


def test_init_makes_everything_and_doctor_finds_it(
    prefect: PrefectServer,
    ignition_here: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty database is found by doctor, mended by init, and init may be repeated."""
    monkeypatch.setenv(DATABASE, f"sqlite:///{tmp_path / 'new.db'}")
    sick = ignition_here("doctor", "--json")
    assert sick.code == 1
    wrong = [c for c in sick.document["checks"] if c["verdict"] == "failed"]
    assert [(check["name"], check["mend"]) for check in wrong] == [
        ("database", "Run: ignition db upgrade")
    ]

    first = ignition_here("init", "--json").document
    again = ignition_here("init", "--json").document
    assert first["database"]["before"] is None
    assert first["database"]["after"] == again["database"]["before"]
    assert {thing["name"] for thing in again["prefect"]["prepared"]} >= {
        "ignition-smtp-server",
        "ignition-smpp-gateway",
        "email",
        "sms",
        "default",
    }
    assert not any(thing["created"] for thing in again["prefect"]["prepared"])
    well = ignition_here("doctor")
    assert well.code == 0, well.out + well.err


def test_without_a_server_nothing_is_started_and_the_mend_is_said(
    ignition: Command, tmp_path: Path
) -> None:
    """Prefect would start a server of its own and throw it away; we say what is missing."""
    done = ignition("init")
    assert done.code == 1
    assert "no Prefect server is named" in done.err
    assert "prefect server start" in done.err
    assert not (tmp_path / "prefect" / "ignition.db").exists()


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 200 if "nonsense" in self.path else 401 if "locked" in self.path else 404
        self.send_response(status)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web_page() -> Iterator[str]:
    """A web server that is not Prefect."""
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nonsense/api", "what answers there is not a Prefect server"),
        ("/locked/api", "PREFECT_API_AUTH_STRING"),
        ("", "it ends with /api"),
    ],
    ids=["nonsense", "locked", "not-the-api"],
)
def test_another_servers_answer_is_told(
    web_page: str, ignition_here: Command, path: str, words: str
) -> None:
    """Nonsense, a lock and a wrong address are three different mends."""
    with temporary_settings({PREFECT_API_URL: f"{web_page}{path}"}):
        done = ignition_here("init")
    assert done.code == 1
    assert words in done.err
    assert "Traceback" not in done.err


def test_a_dead_server_is_told(
    ignition_here: Command, sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens on the port."""
    monkeypatch.setenv(DATABASE, sqlite_database_url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            done = ignition_here("campaign", "delete", "acme/x")
            health = ignition_here("doctor", "--json")
    assert done.code == 1
    assert health.code == 1
    (check,) = (c for c in health.document["checks"] if c["name"] == "prefect")
    assert "does not answer" in check["detail"]
    assert "prefect server start" in check["mend"]
