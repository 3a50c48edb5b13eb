"""Bad input to runs: one message with place and mend, and nothing else changed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from pydantic import ValidationError
from sqlalchemy import text
from sqlmodel import SQLModel, select

from blocks import SmppGateway, SmtpServer
from flows.campaign import campaign
from flows.reconcile import reconcile
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.store import apply, mark_deleted
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.ledger import open_ledger
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.mirror import reference_of
from ignition_ext.schema import VERSION_TABLE
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from ignition_ext.values import MessageState

pytestmark = pytest.mark.timeout(600)

RUN_TABLES = {
    "campaign_run",
    "audit_log",
    "message",
    "message_due",
    "message_event",
    "circuit",
    "sms_route",
}
"""Where a run that was opened leaves its own rows, and what it met of its server."""
LIBRARY_WORDS = ("Traceback", "psycopg.", "sqlite3.", "sqlalche", "httpx", "validate=False", "..")


@dataclass
class Stage:
    """A tenant with a template for both channels, an audience, and a folder for its campaign."""

    client: PrefectClient
    database: Database
    folder: Path
    tenant: str
    resources: AsyncExitStack

    async def apply(self, **changes: Any) -> None:
        said: dict[str, Any] = {
            "name": "news",
            "tenant": self.tenant,
            "channel": "email",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": f"{self.tenant}-mail",
            "from": "Acme <news@acme.example>",
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await apply(self.database, definition, base_path=self.folder, actor="test")

    def write_people(self, *rows: str, header: str = "email,phone,name") -> None:
        (self.folder / "people.csv").write_text("\n".join([header, *rows, ""]), newline="")

    async def push(self, **files: str) -> None:
        folder = self.folder / "news"
        for name, words in files.items():
            (folder / name.replace("_", ".")).write_text(words)
        await push(self.database, tenant=self.tenant, folder=folder, actor="test", publish=True)

    async def run(self, **parameters: Any) -> State[Any]:
        wanted = CampaignParameters(campaign=f"{self.tenant}/news", **parameters)
        return await campaign(wanted, return_state=True)

    async def mail(self, port: int, **fields: Any) -> None:
        server = SmtpServer(host="127.0.0.1", port=port, **({"security": "none"} | fields))
        await server.asave(f"{self.tenant}-mail", client=self.client, overwrite=True)

    async def gateway(self, port: int, **fields: Any) -> None:
        given = {"system_id": "ignition", "password": "secret"} | fields
        gateway = SmppGateway(host="127.0.0.1", port=port, **given)
        await gateway.asave(f"{self.tenant}-sms", client=self.client, overwrite=True)

    async def capture(self, **options: Any) -> CaptureSmtpServer:
        return await self.resources.enter_async_context(CaptureSmtpServer(**options))

    async def smsc(self, **options: Any) -> SmscSimulator:
        return await self.resources.enter_async_context(SmscSimulator(**options))

    async def raw(self, *answers: bytes) -> int:
        """A server that says these octets, one after each thing it hears; returns its port."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                for answer in answers:
                    writer.write(answer)
                    await writer.drain()
                    if not await reader.read(4096):
                        break
                writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        await self.resources.enter_async_context(server)
        return int(server.sockets[0].getsockname()[1])

    async def tables(self) -> dict[str, list[Any]]:
        """Every row of every table."""
        async with self.database.read() as session:
            return {
                name: sorted(map(repr, (await session.exec(select(table))).all()))
                for name, table in SQLModel.metadata.tables.items()
            }

    async def runs(self) -> list[CampaignRun]:
        async with self.database.read() as session:
            return list(await session.exec(select(CampaignRun)))

    async def counts(self) -> dict[str, int]:
        (run,) = await self.runs()
        counts = await open_ledger(self.database).counts(reference_of(run))
        return {state.value: count for state, count in counts.items() if count}

    async def execute(self, statement: str) -> None:
        async with self.database.engine.begin() as connection:
            await connection.execute(text(statement))


@pytest.fixture
async def stage(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    monkeypatch.setenv("IGNITION_CONTROL_SECONDS", "0.2")
    # What pre-flight refuses before a first run, later runs meet themselves.
    monkeypatch.setenv("IGNITION_PREFLIGHT", "never")
    template = tmp_path / "news"
    template.mkdir()
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, region="DE", actor="test")
    async with prefect_client() as client, AsyncExitStack() as resources:
        made = Stage(client, database, tmp_path, tenant_name, resources)
        await made.push(
            subject_txt="News for {{ name }}", body_txt="Hello {{ name }}", sms_txt="Hi {{ name }}"
        )
        made.write_people("ada@example.com,0170 1234567,Ada", "bob@example.com,0170 1234568,Bob")
        yield made
    await database.close()


Spoil = Callable[[Stage], Awaitable[None]]


async def _wrong_kind(stage: Stage) -> None:
    gateway = SmppGateway(host="127.0.0.1", system_id="x")
    await gateway.asave(f"{stage.tenant}-mail", client=stage.client)
    await stage.apply()


async def _unreadable_block(stage: Stage) -> None:
    await stage.mail(25)
    document = await stage.client.read_block_document_by_name(
        f"{stage.tenant}-mail", "ignition-smtp-server"
    )
    wrong = {"data": {"host": "mail.example", "port": 99999}, "merge_existing_data": False}
    answer = await stage.client._client.patch(f"/block_documents/{document.id}", json=wrong)
    assert answer.is_success
    await stage.apply()


async def _deleted(stage: Stage) -> None:
    await stage.mail(25)
    await stage.apply()
    async with stage.database.write() as session:
        await mark_deleted(session, f"{stage.tenant}/news", actor="test")


async def _attachment_gone(stage: Stage) -> None:
    await stage.mail(25)
    (stage.folder / "terms.txt").write_text("x")
    await stage.apply(attachments=["terms.txt"])
    (stage.folder / "terms.txt").unlink()


async def _never(stage: Stage) -> None:
    pass


def _csv(content: bytes) -> Spoil:
    async def spoil(stage: Stage) -> None:
        await stage.mail(25)
        await stage.apply()
        (stage.folder / "people.csv").write_bytes(content)

    return spoil


async def _csv_gone(stage: Stage) -> None:
    await stage.mail(25)
    await stage.apply()
    (stage.folder / "people.csv").unlink()


async def _template_gone(stage: Stage) -> None:
    await stage.mail(25)
    await stage.apply(template="news@7")


async def _behind(stage: Stage) -> None:
    await stage.mail(25)
    await stage.apply()
    await stage.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")


def _sql(url: str | None, query: str = "SELECT email, name FROM people") -> Spoil:
    async def spoil(stage: Stage) -> None:
        await stage.mail(25)
        if url is not None:
            await Secret(value=url).asave(f"{stage.tenant}-warehouse", client=stage.client)
        await stage.apply(audience={"sql": query, "block": f"{stage.tenant}-warehouse"})

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(_never, "there is no campaign", id="no-campaign"),
        pytest.param(_wrong_kind, "there is one of type ignition-smpp-gateway", id="block-kind"),
        pytest.param(_unreadable_block, "port: Input should be less", id="block-unreadable"),
        pytest.param(_deleted, "there is no campaign", id="campaign-deleted"),
        pytest.param(_attachment_gone, "terms.txt does not exist", id="attachment-gone"),
        pytest.param(_csv_gone, "people.csv", id="csv-gone"),
        pytest.param(_csv(b"PK\x03\x04...."), "not CSV but a spreadsheet", id="csv-xlsx"),
        pytest.param(_csv(b"\x7fELF\x00\x00\x01"), "people.csv", id="csv-binary"),
        pytest.param(_csv(b""), "the file is empty", id="csv-empty"),
        pytest.param(_csv(b"name\nAda\n"), "no email or phone column", id="csv-no-address"),
        pytest.param(_template_gone, "has no version 7", id="template-gone"),
        pytest.param(_behind, "ignition db upgrade", id="behind"),
        pytest.param(_sql(None), "there is no block", id="sql-no-block"),
        pytest.param(_sql("nothing"), "holds no database URL", id="sql-no-url"),
        pytest.param(_sql("oracle://u:sekret@h/x"), "not supported", id="sql-oracle"),
        pytest.param(_sql("sqlite:////no/x.db"), "there is no SQLite file", id="sql-no-file"),
        pytest.param(_sql("postgresql://u:sekret@127.0.0.1:1/x"), "its password", id="sql-down"),
        pytest.param(_sql("postgresql://u:sekret@h:abc/x"), "holds no database URL", id="sql-port"),
    ],
)
async def test_what_fails_before_a_run_is_opened_changes_nothing(
    stage: Stage, spoil: Spoil, words: str
) -> None:
    """The state's message has place and mend; every row of every table is as before."""
    await spoil(stage)
    before = await stage.tables()
    state = await stage.run()

    require_failure(state, words)
    assert await stage.tables() == before


def require_failure(state: State[Any], *words: str) -> None:
    assert state.is_failed()
    message = state.message or ""
    for word in words:
        assert word in message
    assert not any(word in message for word in LIBRARY_WORDS), message
    assert "sekret" not in message
    assert "\n" not in message


def pdu(command: int, status: int) -> bytes:
    return struct.pack(">4I", 16, command, status, 1)


async def require_pending(stage: Stage, *words: str) -> str:
    """Runs and fails: the message is the ledger's too, nobody was written to, all may be sent."""
    before = await stage.tables()
    state = await stage.run()

    require_failure(state, *words)
    (run,) = await stage.runs()
    assert (run.state, run.state_reason) == ("failed", state.message)
    assert await stage.counts() == {"pending": 2}
    after = await stage.tables()
    assert {name for name in after if after[name] != before[name]} <= RUN_TABLES
    return state.message or ""


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "is not SMTP", id="http"),
        pytest.param([bytes(range(256))], "is not SMTP", id="binary"),
        pytest.param([b"2" * 100_000], "is not SMTP", id="endless-line"),
        pytest.param([b"554 no service\r\n"], "refuses the session: 554 no service", id="554"),
        pytest.param([b"220 x\r\n", b"what?\r\n"], "is not SMTP", id="ehlo"),
        pytest.param([b"220 x\r\n", b"500 no\r\n", b"500 no\r\n"], "500 no.", id="ehlo-500"),
        pytest.param([b"220 x\r\n", b"250 x\r\n", b"999 what\r\n"], "999 what", id="mail-999"),
        pytest.param(
            [b"220 x\r\n", b"250 x\r\n", b"550 5.7.1 not you\r\n", b"221 x\r\n"],
            "550 5.7.1 not you",
            id="mail-550",
        ),
    ],
)
async def test_a_mail_server_that_answers_nonsense_leaves_everything_pending(
    stage: Stage, answers: list[bytes], words: str
) -> None:
    """Host and port, what was said there, and the block as the place to mend."""
    port = await stage.raw(*answers)
    await stage.mail(port, connect_timeout=5)
    await stage.apply()

    message = await require_pending(stage, f"127.0.0.1:{port}: ", words)
    assert "Check host" in message or "Ask the server's operator" in message


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param([b"", b"HTTP/1.1 400 Bad\r\n\r\n"], "octets long", id="http"),
        pytest.param([b"220 mail ESMTP\r\n"], "octets long", id="smtp"),
        pytest.param([b"", b"\xff" * 64], "4294967295 octets long", id="giant"),
        pytest.param([b""], "closed the connection", id="hangs-up"),
        pytest.param([b"", pdu(0x80000009, 0x0E)], "Invalid Password (0x0000000E)", id="0x0E"),
        pytest.param([b"", pdu(0x80000009, 0x4FF)], "0x000004FF", id="0x4FF"),
        pytest.param([b"", pdu(0x80000000, 3)], "Invalid Command ID", id="nack"),
        pytest.param([b"", b"", b""], "No answer to the bind within 1 s", id="silent"),
    ],
)
async def test_an_smsc_that_answers_nonsense_leaves_everything_pending(
    stage: Stage, answers: list[bytes], words: str
) -> None:
    """Host and port, what came instead of a bind, and what to look at."""
    port = await stage.raw(*answers)
    await stage.gateway(port, response_timeout=1)
    await stage.apply(channel="sms", block=f"{stage.tenant}-sms", **{"from": "Acme"})
    await require_pending(stage, f"127.0.0.1:{port}: ", words)


async def test_what_failed_goes_on_when_the_cause_is_mended(stage: Stage) -> None:
    """The wrong password is corrected in the block: the retried run sends to each once."""
    server = await stage.capture(users={"acme": "right"})
    await stage.mail(server.port, username="acme", password="sekret")
    await stage.apply()
    await require_pending(stage, "535", "Correct user name and password in the block")
    assert server.received == 0

    await stage.mail(server.port, username="acme", password="right")
    state = await stage.run()
    assert (state.name, state.message) == ("Completed", "2 sent")
    assert server.received == 2


async def test_a_template_error_of_one_recipient_costs_only_that_one(stage: Stage) -> None:
    """It is failed with the class render and the template's place; the other gets his mail."""
    server = await stage.capture()
    await stage.mail(server.port)
    await stage.push(body_txt="Hello {{ name }},\n{{ 100 // (name | length - 3) }}")
    stage.write_people("ada@example.com,,Ada", "bert@example.com,,Bert")
    await stage.apply()
    state = await stage.run()

    assert (state.name, state.message) == ("Completed", "1 sent, 1 failed")
    assert [message.recipients for message in server.accepted] == [("bert@example.com",)]
    (run,) = await stage.runs()
    async for rows in open_ledger(stage.database).messages(run.id, states=(MessageState.FAILED,)):
        (failed,) = rows
        assert "news/body.txt:2" in failed["detail"]
        assert "Traceback" not in failed["detail"]


async def test_line_breaks_in_data_reach_no_header(stage: Stage) -> None:
    """Name and subject from the audience are folded into one line, or the mail is not sent."""
    server = await stage.capture()
    await stage.mail(server.port)
    evil = "Eve\r\nBcc: victim@example.com\r\n\r\nbody"
    stage.write_people(
        f'eve@example.com,,"{evil}"',
        'bob@example.com,,"Bob\nX-Evil: 1"',
        '"carl@example.com\r\nRCPT TO:<victim@example.com>",,Carl',
        "ada@example.com,,Ada",
    )
    await stage.apply()
    state = await stage.run()

    assert state.is_completed()
    assert ("ada@example.com",) in {message.recipients for message in server.accepted}
    for message in server.accepted:
        assert message.recipients[0] in {"ada@example.com", "bob@example.com", "eve@example.com"}
        headers = message_from_bytes(message.content)
        assert "Bcc" not in headers
        assert "X-Evil" not in headers
        assert b"\r\nBcc:" not in message.content.split(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from", "Acme <a@acme.example>\r\nBcc: x@y.example"),
        ("headers", {"X-Note": "a\nBcc: x@y.example"}),
        ("headers", {"X-Note\r\nBcc": "x@y.example"}),
    ],
)
def test_line_breaks_in_a_campaign_are_refused(field: str, value: object) -> None:
    """Before anything is stored."""
    said = {"name": "n", "tenant": "t", "audience": {"csv": "p.csv"}, "template": "t", "block": "b"}
    for channel in ("email", "sms"):
        with pytest.raises(ValidationError):
            CampaignDefinition.model_validate({**said, "channel": channel, field: value})


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_query_through_a_secret_feeds_a_run(
    stage: Stage, kind: str, postgres_database_url: str, tmp_path: Path
) -> None:
    """The block of type Secret holds the warehouse's URL."""
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    if kind == "postgresql":
        url = postgres_database_url
    warehouse = Database(url)
    async with warehouse.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE people (email text, name text)"))
        await connection.execute(text("INSERT INTO people VALUES ('ada@example.com', 'Ada')"))
    await warehouse.close()
    server = await stage.capture()
    schema = "ignition." if kind == "postgresql" else ""
    await _sql(url, f"SELECT email, name FROM {schema}people")(stage)
    await stage.mail(server.port)
    state = await stage.run()

    assert (state.name, state.message) == ("Completed", "1 sent")
    assert [message.recipients for message in server.accepted] == [("ada@example.com",)]
    await stage.apply(
        audience={"sql": "SELECT nothing FROM nowhere", "block": f"{stage.tenant}-warehouse"}
    )
    require_failure(await stage.run(), "Check the query of audience.sql")


async def test_reconcile_settles_what_a_dead_sender_left(stage: Stage) -> None:
    """Lapsed leases are free again, and the flow says so; the next run sends the rest."""
    server = await stage.capture()
    await stage.mail(1, username="x")
    await stage.apply()
    await stage.run()
    (run,) = await stage.runs()
    ledger = open_ledger(stage.database)
    await stage.execute("UPDATE campaign_run SET state = 'open'")
    await ledger.claim(reference_of(run), limit=2, lease=timedelta(milliseconds=1))
    assert await stage.counts() == {"claimed": 2}
    state = await reconcile(return_state=True)

    assert "2 messages of a dead sender can be sent again" in (state.message or "")
    assert await stage.counts() == {"pending": 2}
    assert server.received == 0


async def test_reconcile_lets_an_overdue_run_expire(stage: Stage) -> None:
    """A run whose flow never comes back does not keep messages sendable past the deadline."""
    await stage.mail(1, username="x")
    await stage.apply(delivery={"deadline": "1h"})
    await stage.run()
    await stage.execute("UPDATE campaign_run SET state = 'open'")
    assert (await reconcile(return_state=True)).message == "nothing to do"
    await stage.execute("UPDATE campaign_run SET deadline = '2026-01-01 00:00:00.000000'")
    state = await reconcile(return_state=True)

    assert "2 messages expired" in (state.message or "")
    assert await stage.counts() == {"expired": 2}
