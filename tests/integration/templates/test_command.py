"""``ignition template …`` as an operator types it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ignition_ext.cli import main
from ignition_ext.database import Database
from ignition_ext.tenants import create_tenant

ACME = Path(__file__).parents[3] / "deployments" / "acme" / "templates"


class Command:
    """Runs one command; ``code``, ``out`` and ``err`` are the last one's."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["template", *arguments])
        self.out, self.err = self._capsys.readouterr()
        return int(ended.value.code or 0)

    def json(self, *arguments: str) -> object:
        code = self(*arguments, "--tenant", "acme", "--json")
        assert code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def command(
    sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    async def prepare() -> None:
        database = Database(sqlite_database_url)
        await create_tenant(database, name="acme", timezone="Europe/Berlin", actor="test")
        await database.close()

    asyncio.run(prepare())
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    return Command(capsys)


def test_a_folder_of_templates_is_pushed_listed_and_shown(command: Command) -> None:
    """In the order of need, published, with what each takes in."""
    pushed = command.json("push", str(ACME), "--publish")
    listed = command.json("list")
    shown = command.json("show", "newsletter")

    assert [(one["name"], one["state"]) for one in pushed] == [
        *(("base", "published"), ("reminder", "published"), ("newsletter", "published"))
    ]
    assert [one["name"] for one in listed] == ["base", "newsletter", "reminder"]
    assert shown["pins"] == {"base": 1}
    assert "renewal_date" in shown["variables"]
    assert all(not one["changed"] for one in command.json("push", str(ACME), "--publish"))


def test_a_draft_is_published_and_archived(command: Command) -> None:
    """Each step says the version's new state."""
    command.json("push", str(ACME / "reminder"))
    assert command("list", "--tenant", "acme") == 0
    assert "draft" in command.out

    assert command.json("publish", "reminder")[0]["state"] == "published"
    assert command.json("archive", "reminder", "--version", "1")[0]["state"] == "archived"
    assert command("show", "reminder", "--tenant", "acme") == 0
    assert "archived" in command.out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.json", '{"first_name": "Ada", "account_id": "A1", "locale": "de"}'),
        ("r.json", '[{"first_name": "Ada", "account_id": "A1", "locale": "de"}]'),
        ("r.yaml", "first_name: Ada\naccount_id: A1\nlocale: de\n"),
        ("r.csv", "first_name,account_id,locale\nAda,A1,de\nBob,B2,tr\n"),
    ],
)
def test_a_preview_writes_page_and_text(
    command: Command, tmp_path: Path, name: str, content: str
) -> None:
    """For a recipient out of any of the formats."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "subject.txt").write_text("Hi {{ first_name }}")
    (folder / "subject.de.txt").write_text("Hallo {{ first_name }}")
    (folder / "body.html").write_text("<p>{{ account_id }} &amp; {{ tenant.name }}</p>")
    command.json("push", str(folder))

    made = command.json(
        *("preview", "hello", "--data", str(tmp_path / name), "--output", str(tmp_path / "out"))
    )

    assert made["subject"] == "Hallo Ada"
    assert (tmp_path / "out" / "hello.html").read_text() == "<p>A1 &amp; acme</p>"
    assert (tmp_path / "out" / "hello.txt").read_text() == "A1 & acme\n"
    assert made["sms"] is None
    assert len(made["written"]) == 2


def test_a_preview_of_a_text_message_shows_its_segments(command: Command) -> None:
    """Each is paid for; the made-up recipient is the template's own."""
    command.json("push", str(ACME / "reminder"))

    english = command.json("preview", "reminder")
    spanish = command.json("preview", "reminder", "--locale", "es-MX")

    assert (english["encoding"], len(english["segments"])) == ("gsm7", 1)
    assert (spanish["encoding"], len(spanish["segments"])) == ("ucs2", 2)
    assert "".join(spanish["segments"]) == spanish["sms"]
    assert command("preview", "reminder", "--tenant", "acme") == 0
    assert "1 segment(s)" in command.err
    assert english["sms"] in command.out.replace("\n", " ").strip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("push", "nowhere", "--tenant", "acme"), "no such folder"),
        (("push", str(ACME), "--tenant", "nobody"), "ignition tenant create nobody"),
        (("publish", "gone", "--tenant", "acme"), "no template 'gone'"),
        (("preview", "gone", "--tenant", "acme"), "no template 'gone'"),
        (("show", "gone", "--tenant", "acme", "--json"), "no template 'gone'"),
        (("archive", "gone", "--tenant", "acme"), "no template 'gone'"),
    ],
)
def test_a_mistake_is_told_with_its_mend(command: Command, arguments, words) -> None:
    """On stderr, with exit code 1 and nothing on stdout."""
    assert command(*arguments) == 1
    assert words in command.err
    assert "Mend:" in command.err or "no such folder" in command.err
    assert command.out == ""


def test_a_preview_needs_a_recipient_that_can_be_read(command: Command, tmp_path: Path) -> None:
    """The file is named; a layout cannot be previewed at all."""
    command.json("push", str(ACME), "--publish")
    for content in ("[]", "{", "7", ""):
        (tmp_path / "x.json").write_text(content)
        preview = ("preview", "reminder", "--tenant", "acme", "--data", str(tmp_path / "x.json"))
        assert command(*preview) == 1
        assert "x.json" in command.err
    assert command("preview", "base", "--tenant", "acme") == 1
    assert "others take it in" in command.err
