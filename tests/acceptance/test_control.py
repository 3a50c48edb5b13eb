"""Steering a run from the command line, end to end: a worker, a mail server, a long run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from blocks import SmtpServer
from ignition_ext.devtools.demo_stack import RecordingServer
from ignition_ext.devtools.stack import PrefectServer, PrefectWorker

pytestmark = pytest.mark.timeout(600)

PEOPLE = 300
Command = Any


@pytest.fixture
def mail(tmp_path: Path, tenant_name: str, prefect: PrefectServer) -> Iterator[RecordingServer]:
    with RecordingServer("capture_smtp", tmp_path / "mail") as server:
        block = SmtpServer(host="127.0.0.1", port=server.port, security="none", connections=2)
        block.save(f"{tenant_name}-mail", _sync=True)
        yield server


@pytest.fixture
def letter(
    prefect: PrefectServer,
    mail: RecordingServer,
    sqlite_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tenant_name: str,
    ignition_here: Command,
) -> Iterator[str]:
    """A campaign of 300 letters at 20 a second, and a worker for it."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    folder = tmp_path / tenant_name
    template = folder / "letter"
    template.mkdir(parents=True)
    (template / "subject.txt").write_text("Hello {{ name }}")
    (template / "body.txt").write_text("Dear {{ name }}\n")
    rows = "\n".join(f"p{number}@people.example,P{number}" for number in range(PEOPLE))
    (folder / "people.csv").write_text(f"email,name\n{rows}\n")
    file = folder / "letter.yaml"
    file.write_text(
        f"name: letter\ntenant: {tenant_name}\nchannel: email\naudience: {{csv: people.csv}}\n"
        f"template: letter\nblock: {tenant_name}-mail\nfrom: Acme <news@acme.example>\n"
        "throttle: {per_second: 20}\n"
    )
    for arguments in (
        ("tenant", "create", tenant_name),
        ("template", "push", template, "--tenant", tenant_name, "--publish"),
        ("campaign", "apply", file),
    ):
        done = ignition_here(*arguments)
        assert done.code == 0, done.err
    environment = {
        "IGNITION_DATABASE_URL": sqlite_database_url,
        "IGNITION_DRAIN_SECONDS": "5",
        "IGNITION_CONTROL_SECONDS": "0.5",
    }
    with PrefectWorker(prefect, "email", environment=environment):
        yield f"{tenant_name}/letter"


def arrived(mail: RecordingServer) -> list[str]:
    lines = mail.record.read_text().splitlines() if mail.record.exists() else []
    return [json.loads(line)["recipients"][0] for line in lines]


def wait_until(look: Callable[[], Any], seconds: float = 90) -> Any:
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)
    return found


def state_of(flow_run: str) -> str:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run).state_name or ""  # type: ignore[arg-type]


def test_a_run_is_paused_resumed_and_cancelled_from_the_terminal(
    letter: str, mail: RecordingServer, ignition_here: Command
) -> None:
    """Pause stops new mail, resume wakes the waiting run at once, cancel accounts for the rest."""

    def counts() -> dict[str, int]:
        document = ignition_here("campaign", "status", flow_run, "--json").document
        return {name: count for name, count in document["counts"].items() if count}

    flow_run = ignition_here("campaign", "run", letter).out.strip()
    wait_until(lambda: len(arrived(mail)) >= 10)

    paused = ignition_here("campaign", "pause", flow_run)
    assert paused.code == 0, paused.err
    # Its process ends: a paused run holds no worker's slot.
    wait_until(lambda: state_of(flow_run) == "AwaitingRetry", seconds=30)
    so_far = arrived(mail)
    assert len(so_far) < PEOPLE
    assert counts() == {"sent": len(so_far), "pending": PEOPLE - len(so_far), "total": PEOPLE}

    resumed = ignition_here("campaign", "resume", flow_run)
    assert resumed.code == 0, resumed.err
    wait_until(lambda: len(arrived(mail)) >= len(so_far) + 10, seconds=60)

    cancelled = ignition_here("campaign", "cancel", flow_run)
    assert cancelled.code == 0, cancelled.err
    wait_until(lambda: set(counts()) == {"sent", "cancelled", "total"}, seconds=15)
    ended = counts()
    assert ended["sent"] == len(arrived(mail)) == len(set(arrived(mail))) < PEOPLE
    assert ended["total"] == ended["sent"] + ended["cancelled"] == PEOPLE
    wait_until(lambda: state_of(flow_run) == "Cancelled", seconds=60)
    assert ignition_here("campaign", "resume", flow_run).code == 1
