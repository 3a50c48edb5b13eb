"""``ignition webhook`` and ``ignition outcomes``, as an operator calls them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from ignition_ext.cli import main
from ignition_ext.cli.webhook_checks import check_webhooks
from ignition_ext.database import Database
from ignition_ext.health.check import Verdict
from ignition_ext.settings import Settings
from ignition_ext.tenants import create_tenant

Run = Callable[..., tuple[int, Any, str]]


@dataclass
class Taken:
    """What a server got."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Taken]:
    """An HTTP server in a thread, which takes everything."""
    taken = Taken()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        taken.url = f"http://127.0.0.1:{http.server_port}/"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield taken
        http.shutdown()
        thread.join()


@pytest.fixture
def run(
    sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Calls a command with --json; returns its exit code, document and stderr."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    monkeypatch.setenv("IGNITION_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8")

    async def prepare() -> None:
        database = Database(sqlite_database_url)
        await create_tenant(database, name="acme", actor="test")
        await database.close()

    asyncio.run(prepare())

    def call(*arguments: str) -> tuple[int, Any, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        printed = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return call


def test_a_webhook_from_its_beginning_to_its_end(run: Run, server: Taken) -> None:
    """Each command says in JSON what it did; a secret is shown when it is made, never again."""
    of_acme = ("--tenant", "acme")
    code, added, _ = run("webhook", "add", server.url, *of_acme, "--event", "ignition.webhook.*")
    assert code == 0
    assert added["events"] == ["ignition.webhook.*"]
    key = added["id"]

    code, sent, _ = run("webhook", "test", key, *of_acme)
    assert (code, sent["state"], sent["status"]) == (0, "delivered", 202)
    headers, body = server.requests[0]
    assert headers["webhook-id"] == sent["id"]
    assert Webhook(added["secret"]).verify(body, headers)["type"] == "ignition.webhook.test"

    _, rotated, _ = run("webhook", "rotate", key, *of_acme)
    assert rotated["secret"] not in ("", added["secret"])
    assert run("webhook", "disable", key, *of_acme, "--reason", "moved")[1]["changed"] is True
    assert run("webhook", "disable", key, *of_acme)[1]["changed"] is False
    code, listed, _ = run("webhook", "list", *of_acme)
    assert [(row["state"], row["reason"]) for row in listed] == [("disabled", "moved")]
    assert "secret" not in listed[0]
    assert run("webhook", "test", key, *of_acme)[0] == 1
    assert run("webhook", "enable", key, *of_acme)[1]["changed"] is True
    _, deliveries, _ = run("webhook", "deliveries", key, *of_acme, "--state", "delivered")
    assert [row["id"] for row in deliveries] == [sent["id"]]
    code, again, _ = run("webhook", "redeliver", key, *of_acme, "--since", "2h")
    assert (code, again) == (0, {"id": key, "redelivered": 0, "enabled": True})
    code, _, told = run("webhook", "redeliver", key, *of_acme, "--delivery", sent["id"])
    assert (code, "was taken" in told) == (1, True)
    for wrong in ((), ("--delivery", "x"), ("--since", "yesterday")):
        code, _, told = run("webhook", "redeliver", key, *of_acme, *wrong)
        assert (code, "Mend:" in told) == (1, True)
    assert run("webhook", "remove", key, *of_acme)[0] == 0
    code, _, told = run("webhook", "remove", key, *of_acme)
    assert (code, "no webhook" in told) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("https://10.0.0.1/", "--tenant", "acme"), "not an address of the public internet"),
        (("https://example.com/", "--tenant", "nobody"), "no tenant"),
        (("https://example.com/", "--tenant", "acme", "--event", "ignition.no"), "no outcome"),
    ],
    ids=["inside", "tenant", "event"],
)
def test_what_cannot_be_added_is_told(run: Run, arguments: tuple[str, ...], words: str) -> None:
    """With a mend, and nothing is stored."""
    code, _, told = run("webhook", "add", *arguments)

    assert code == 1
    assert words in told
    assert "Mend:" in told
    assert run("webhook", "list", "--tenant", "acme")[1] == []


def test_the_secret_can_be_copied_from_any_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However narrow it is, it stands on one line."""
    monkeypatch.setenv("COLUMNS", "40")
    url = "https://example.com/" + "long/" * 20
    with pytest.raises(SystemExit):
        main(["webhook", "add", url, "--tenant", "acme"])
    lines = capsys.readouterr().out.splitlines()

    assert lines[1].split() == ["url", url]
    name, secret = lines[2].split()
    assert (name, len(secret)) == ("secret", 50)
    assert secret not in json.dumps(run("webhook", "list", "--tenant", "acme")[1])


def test_the_same_address_is_added_once(run: Run) -> None:
    """It would be told everything twice."""
    arguments = ("webhook", "add", "https://example.com/hook", "--tenant", "acme")
    assert run(*arguments)[0] == 0
    code, _, told = run(*arguments)
    assert (code, "already" in told) == (1, True)


def test_one_pass_tells_webhooks_without_prefect(run: Run, server: Taken) -> None:
    """The tenant's own changes are outcomes, too; nothing is told again."""
    run("webhook", "add", server.url, "--tenant", "acme", "--event", "ignition.configuration.*")
    run("tenant", "set", "acme", "throttle.per_second", "5")

    code, done, told = run("outcomes", "relay", "--once")

    assert (code, done["errors"], done["delivered"]) == (0, {}, 1)
    assert "only webhooks" in told
    events = json.loads(server.requests[0][1])["data"]["events"]
    actions = sorted(event["action"] for event in events)
    assert actions == ["tenant.created", "tenant.setting_changed", "webhook.added"]
    assert run("outcomes", "relay", "--once")[1]["delivered"] == 0


async def test_doctor_tells_of_webhooks_in_trouble(world: Any) -> None:
    """Those that are off or fail, and that nobody tells them anything."""
    settings = Settings(database_url=world.database.url.render_as_string(hide_password=False))
    assert [check.verdict for check in await check_webhooks(settings)] == [Verdict.OK]
    added = await world.add("https://hooks.example.com/")
    async with world.database.engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE webhook_endpoint SET state = 'disabled', reason = 'it answered 410 Gone'"
        )
        await connection.exec_driver_sql(
            "UPDATE outcome_cursor SET moved_at = '2026-01-01 00:00:00.000000'"
        )

    stalled, off = await check_webhooks(settings)

    assert (stalled.verdict, stalled.name) == (Verdict.FAILED, "outcomes")
    assert (off.verdict, str(added.endpoint.id) in off.mend) == (Verdict.HINT, True)
    assert "410 Gone" in off.detail
