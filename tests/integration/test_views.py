"""The analysts' views: what they count, that the docs describe them, and who may read them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text

from ignition_ext.database import Database
from ignition_ext.models import (
    Campaign,
    CampaignRun,
    CampaignVersion,
    FallbackMessage,
    Message,
    MessageEvent,
    Template,
    TemplateVersion,
    Tenant,
    TrackedUrl,
    TrackingEvent,
)
from ignition_ext.schema import analyst_role_script, current_revision, head_revision, upgrade
from ignition_ext.values import MessageState

DOCS = Path(__file__).parents[2] / "docs" / "analysts.md"
VIEWS = (
    *("run_history", "delivery_funnel", "failures_by_class", "message_timeline"),
    *("email_engagement", "clicks_by_url", "fallbacks"),
)
AT = datetime(2026, 11, 21, 8, tzinfo=UTC)
RUN, FLOW_RUN = UUID(int=0x0192F0), UUID(int=0xF10)
DELIVERED = UUID("019aa5c8-0000-7000-8000-000000000001")
"""The id that the docs ask for."""
FELL_BACK = UUID("019aa5c8-0000-7000-8000-000000000002")
REFUSALS = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ObjectNotInPrerequisiteState,  # a view of several tables cannot be written
)
ACCEPTED = {MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED}


def sql_blocks(kind: str = "") -> list[str]:
    """The documentation's queries of one kind."""
    return re.findall(rf"^```sql{kind and ' ' + kind}\n(.+?)^```", DOCS.read_text(), re.M | re.S)


def message(state: MessageState, **fields: Any) -> Message:
    sent_at = AT + timedelta(seconds=70) if state in ACCEPTED else None
    return Message(
        **{
            "tenant_id": 1,
            "run_id": RUN,
            "run_at": AT,
            "channel": "email",
            "address": f"{uuid4()}@example.com",
            "domain": "example.com",
            "state": state,
            "attempts": 0 if state is MessageState.PENDING else 1,
            "sent_at": sent_at,
            **fields,
        }
    )


async def fill(database: Database) -> None:
    """One run that is over, with a message in every state and two that failed alike."""
    async with database.write() as session:
        session.add(Tenant(id=1, name="acme"))
        await session.flush()
        session.add(Campaign(id=1, tenant_id=1, name="welcome", version=2))
        session.add(Template(id=1, tenant_id=1, name="hello"))
        await session.flush()
        session.add(
            TemplateVersion(id=1, tenant_id=1, template_id=1, version=3, digest="", files={})
        )
        session.add(
            CampaignVersion(
                tenant_id=1, campaign_id=1, version=2, digest="", definition={"channel": "both"}
            )
        )
        await session.flush()
        session.add(
            CampaignRun(
                id=RUN,
                tenant_id=1,
                campaign_id=1,
                campaign_version=2,
                template_version_id=1,
                run_at=AT,
                state="completed",
                flow_run_id=FLOW_RUN,
                flow_run_name="acme/welcome",
                prefect_state="Completed",
                prefect_attempts=2,
                scheduled_at=AT,
                started_at=AT + timedelta(seconds=2.5),
                ended_at=AT + timedelta(seconds=102.75),
                skipped=3,
                rejected=4,
                duplicates=5,
            )
        )
        messages = [message(state) for state in MessageState]
        refused = {"failure_class": "mailbox", "code": "550", "enhanced": "5.1.1"}
        messages += [message(MessageState.FAILED, domain=name, **refused) for name in ("a", "b")]
        messages.append(message(MessageState.SENT, run_id=None, channel="sms", domain="49"))
        delivered = messages[list(MessageState).index(MessageState.DELIVERED)]
        delivered.id = DELIVERED
        messages[list(MessageState).index(MessageState.FAILED)].id = FELL_BACK
        session.add_all(messages)
        session.add(
            FallbackMessage(
                message_id=FELL_BACK,
                tenant_id=1,
                run_id=RUN,
                sms_id=messages[-1].id,
                sms_run_id=RUN,
                cause="failed",
                failure_class="mailbox",
                at=AT,
            )
        )
        delivered.created_at = AT
        session.add(TrackedUrl(id=1, tenant_id=1, digest="0" * 32, url="https://shop.example/"))
        noted = [("open", True), ("open", True), ("open", False), ("click", False)]
        session.add_all(
            TrackingEvent(
                tenant_id=1,
                message_id=DELIVERED,
                kind=kind,
                at=AT + timedelta(seconds=80),
                agent="gmail_proxy" if is_proxy else "phone",
                is_proxy=is_proxy,
                url_id=1 if kind == "click" else None,
            )
            for kind, is_proxy in noted
        )
        told: list[dict[str, Any]] = [
            {"old": "sending", "new": "deferred", "at": 4.5, "intended": 2.0, "code": "451"},
            {"old": "sending", "new": "sent", "at": 70.5, "intended": 70.0, "code": "250"},
            {"old": "sent", "new": "delivered", "at": 74.0, "intended": None, "code": ""},
        ]
        for seq, event in enumerate(told, 1):
            intended = event["intended"]
            session.add(
                MessageEvent(
                    run_at=AT,
                    tenant_id=1,
                    message_id=delivered.id,
                    seq=seq,
                    at=AT + timedelta(seconds=event["at"]),
                    old_state=event["old"],
                    new_state=event["new"],
                    attempt=min(seq, 2),
                    code=event["code"],
                    intended_at=None if intended is None else AT + timedelta(seconds=intended),
                )
            )


def on(database: Database, sql: str) -> str:
    return sql if database.dialect == "postgresql" else sql.replace("analytics.", "")


async def query(database: Database, sql: str) -> list[dict[str, Any]]:
    async with database.engine.connect() as connection:
        rows = await connection.execute(text(on(database, sql)))
        return [dict(row) for row in rows.mappings()]


async def test_run_history_has_times_and_counts(database: Database) -> None:
    """One row a run; every state is counted and the total is their sum."""
    await fill(database)

    [row] = await query(database, "SELECT * FROM analytics.run_history")

    assert str(row["run_id"]) == str(RUN)
    assert str(row["flow_run_id"]) == str(FLOW_RUN)
    names = ("tenant", "campaign", "channel", "template", "template_version", "attempts")
    assert [row[name] for name in names] == ["acme", "welcome", "both", "hello", 3, 2]
    assert (row["duration_seconds"], row["lateness_seconds"]) == (100.25, 2.5)
    assert [row[name] for name in ("skipped", "rejected", "duplicates")] == [3, 4, 5]
    counts = {state.value: row[state] for state in MessageState}
    assert counts == {state.value: 3 if state == "failed" else 1 for state in MessageState}
    assert row["total"] == sum(counts.values())


async def test_a_run_without_messages_has_zeros(database: Database) -> None:
    """Also one that never started."""
    await fill(database)
    async with database.write() as session:
        session.add(
            CampaignRun(tenant_id=1, campaign_id=1, campaign_version=9, run_at=AT, state="failed")
        )

    [row] = await query(database, "SELECT * FROM analytics.run_history WHERE campaign_version = 9")
    assert {row[state] for state in MessageState} == {0}
    assert (row["total"], row["channel"], row["duration_seconds"]) == (0, None, None)


async def test_the_funnel_narrows(database: Database) -> None:
    """Accepted messages are those a server took, whatever became of them; single sends as well."""
    await fill(database)

    rows = await query(database, "SELECT * FROM analytics.delivery_funnel ORDER BY channel")
    run, single = rows

    steps = ("total", "waiting", "attempted", "accepted", "delivered", "bounced", "failed")
    assert [run[name] for name in steps] == [15, 4, 14, 3, 1, 1, 3]
    assert (run["accepted_percent"], run["delivered_percent"]) == (20.0, 33.33)
    assert [single[name] for name in ("run_id", "campaign", "tenant", "channel", "accepted")] == [
        None,
        None,
        "acme",
        "sms",
        1,
    ]


async def test_failures_are_counted_by_class_and_code(database: Database) -> None:
    """Messages without a class are none."""
    await fill(database)

    [row] = await query(database, "SELECT * FROM analytics.failures_by_class")
    assert [row[name] for name in ("state", "failure_class", "code", "enhanced")] == [
        "failed",
        "mailbox",
        "550",
        "5.1.1",
    ]
    assert (row["messages"], row["domains"]) == (2, 2)


async def test_the_timeline_says_how_long_each_state_took(database: Database) -> None:
    """From the beginning, in the order of seq: on the wire counts from the intent."""
    await fill(database)

    rows = await query(
        database,
        f"SELECT * FROM analytics.message_timeline WHERE message_id = '{DELIVERED}' ORDER BY seq",
    )
    assert [(row["seq"], row["old_state"], row["new_state"]) for row in rows] == [
        (0, "", "pending"),
        (1, "sending", "deferred"),
        (2, "sending", "sent"),
        (3, "sent", "delivered"),
    ]
    assert [row["seconds_in_old_state"] for row in rows] == [None, 2.5, 0.5, 3.5]
    assert [row["code"] for row in rows] == ["", "451", "250", ""]
    assert {str(row["run_id"]) for row in rows} == {str(RUN)}
    beginnings = await query(
        database, "SELECT * FROM analytics.message_timeline WHERE old_state = ''"
    )
    assert len(beginnings) == len(await query(database, "SELECT id FROM message"))


async def test_a_text_message_names_the_email_that_it_stands_for(database: Database) -> None:
    """And the other way round, with what became of it."""
    await fill(database)

    (row,) = await query(database, "SELECT * FROM analytics.fallbacks")
    assert (str(row["message_id"]), row["cause"], row["sms_state"]) == (
        str(FELL_BACK),
        "failed",
        "sent",
    )
    (first,) = await query(
        database,
        f"SELECT * FROM analytics.message_timeline WHERE message_id = '{row['sms_message_id']}'",
    )
    assert (str(first["fallback_of"]), first["channel"]) == (str(FELL_BACK), "sms")


async def test_engagement_counts_messages_once_and_machines_apart(database: Database) -> None:
    """A message opened twice by a proxy and once by a person is one that was opened."""
    await fill(database)

    names = "opens, opened, opened_directly, clicks, clicked, clicked_directly"
    (row,) = await query(database, f"SELECT {names} FROM analytics.email_engagement")
    assert tuple(row.values()) == (3, 1, 1, 1, 1, 1)
    (link,) = await query(database, "SELECT url, clicked FROM analytics.clicks_by_url")
    assert tuple(link.values()) == ("https://shop.example/", 1)


async def test_no_view_shows_an_address(database: Database) -> None:
    """Whoever reads the views learns of no person."""
    await fill(database)

    for view in VIEWS:
        rows = await query(database, f"SELECT * FROM analytics.{view}")
        assert rows
        assert "@" not in repr(rows)


@pytest.mark.parametrize("view", VIEWS)
async def test_the_docs_describe_every_column(database: Database, view: str) -> None:
    """In the view's own order."""
    section = re.search(rf"^### {view}$(.+?)(?=^##)", DOCS.read_text(), re.M | re.S)
    assert section is not None
    described = re.findall(r"^\| `(\w+)` \| \S", section[1], re.M)

    async with database.engine.connect() as connection:
        found = await connection.execute(text(on(database, f"SELECT * FROM analytics.{view}")))
    assert described == list(found.keys())


@pytest.mark.parametrize("sql", sql_blocks(), ids=lambda sql: sql.split("\n")[0][:40])
async def test_the_docs_queries_give_rows(database: Database, sql: str) -> None:
    """As they stand on PostgreSQL, without the schema's name on SQLite."""
    await fill(database)

    assert await query(database, sql)


@pytest.fixture
def analyst_url(postgres_database_url: str) -> Iterator[str]:
    """A login made by the docs' script, in roles of this test's own."""
    group, login = f"analyst_{uuid4().hex[:8]}", f"jane_{uuid4().hex[:8]}"
    [create] = sql_blocks("role")
    create = create.replace("ignition_analyst", group).replace("jane", login)
    with psycopg.connect(postgres_database_url, autocommit=True) as connection:
        for _ in range(2):
            connection.execute(analyst_role_script(group).encode())
        connection.execute(create.encode())
    yield f"postgresql://{login}:change-me@{postgres_database_url.rpartition('@')[2]}"
    with psycopg.connect(postgres_database_url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {group}; DROP ROLE {login}, {group}".encode())


def test_the_role_reads_the_views_and_nothing_else(
    postgres_database_url: str, analyst_url: str
) -> None:
    """No table can be read or written, no view written, nothing made."""
    database = Database(postgres_database_url)
    asyncio.run(_fill_and_close(database))

    with psycopg.connect(analyst_url, autocommit=True) as connection:
        for view in VIEWS:
            assert connection.execute(f"SELECT * FROM analytics.{view}".encode()).fetchall()
        with psycopg.connect(postgres_database_url) as owner:
            found = owner.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'ignition'"
            ).fetchall()
        assert len(found) > 15
        forbidden = [f"SELECT 1 FROM ignition.{name}" for (name,) in found]
        forbidden += [f"DELETE FROM ignition.{name}" for (name,) in found]
        forbidden += [f"DELETE FROM analytics.{view}" for view in VIEWS]
        forbidden += [
            "UPDATE analytics.run_history SET state = 'failed'",
            "CREATE TABLE analytics.mine (a int)",
            "CREATE TABLE ignition.mine (a int)",
        ]
        for statement in forbidden:
            with pytest.raises(REFUSALS):
                connection.execute(statement.encode())


async def _fill_and_close(database: Database) -> None:
    await fill(database)
    await database.close()


def test_a_view_of_a_later_release_is_readable_as_well(
    postgres_database_url: str, analyst_url: str
) -> None:
    """Default privileges cover what the owner makes later."""
    with psycopg.connect(postgres_database_url, autocommit=True) as owner:
        owner.execute("CREATE VIEW analytics.later AS SELECT 1 AS one")

    with psycopg.connect(analyst_url) as connection:
        assert connection.execute("SELECT one FROM analytics.later").fetchall() == [(1,)]


async def migrate_prefect(url: str, home: Path) -> None:
    """Prefect's own migrations, as its server runs them."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"),
        env={
            **os.environ,
            "PREFECT_HOME": str(home),
            "PREFECT_API_DATABASE_CONNECTION_URL": url.replace(
                "postgresql:", "postgresql+asyncpg:"
            ),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


PREFECT_ROWS = """
INSERT INTO public.flow (id, name) VALUES (:flow, 'campaign');
INSERT INTO public.deployment (id, name, flow_id) VALUES (:deployment, 'acme.welcome', :flow);
INSERT INTO public.flow_run (id, name, flow_id, deployment_id, state_type, state_name, run_count,
    expected_start_time, start_time, work_queue_name)
VALUES (:run, 'acme/welcome', :flow, :deployment, 'CRASHED', 'Crashed', 2,
    now() - interval '2 minutes', now() - interval '1 minute', 'default')
"""


async def test_prefects_tables_and_ours_share_a_database(
    empty_postgres_url: str, tmp_path: Path
) -> None:
    """Either may be migrated while the other is there, and the docs' joins give rows."""
    database = Database(empty_postgres_url)
    await upgrade(database, "0001")
    await migrate_prefect(empty_postgres_url, tmp_path)
    await upgrade(database)
    await migrate_prefect(empty_postgres_url, tmp_path)
    await fill(database)
    ids = {"flow": uuid4(), "deployment": uuid4(), "run": FLOW_RUN}
    async with database.engine.begin() as connection:
        for statement in PREFECT_ROWS.split(";"):
            await connection.execute(text(statement), ids)

    blocks = sql_blocks("prefect")

    assert len(blocks) == 3
    assert "flow_run" not in await _tables(database, "ignition")
    assert "campaign_run" not in await _tables(database, "public")
    for sql in blocks:
        assert await query(database, sql)
    assert await current_revision(database) == head_revision()
    await database.close()


async def _tables(database: Database, schema: str) -> set[str]:
    found = await query(
        database,
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'",
    )
    return {row["table_name"] for row in found}
