"""Operations on campaigns and runs from the command line, one by one and in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from sqlmodel import select

from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.models import AuditLog
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import (
    campaign_deployment,
    ensure_deployment,
    find_deployment,
)
from ignition_ext.tenants import create_tenant

Command = Any
NAMES = ("bill", "news-a", "news-b")


class Desk:
    """A tenant with three campaigns, and an operator."""

    def __init__(self, tenant: str, folder: Path, url: str, ignition: Command) -> None:
        self.tenant, self.folder, self.url, self.ignition = tenant, folder, url, ignition

    def with_client(self, do: Callable[[PrefectClient], Any]) -> Any:
        async def call() -> Any:
            async with prefect_client() as client:
                return await do(client)

        return asyncio.run(call())

    def with_database(self, do: Callable[[Database], Any]) -> Any:
        async def call() -> Any:
            database = Database(self.url)
            try:
                return await do(database)
            finally:
                await database.close()

        return asyncio.run(call())

    def apply(self, name: str, **changes: Any) -> None:
        said = {
            "name": name,
            "tenant": self.tenant,
            "channel": "email",
            "audience": {"name": "customers"},
            "template": "news",
            "block": f"{self.tenant}-mail",
            "from": "news@acme.example",
            "schedules": [{"cron": "0 8 * * *"}, {"interval": "6h"}],
            "tags": ["letters"] if name.startswith("news") else [],
        }
        definition = CampaignDefinition.model_validate(said | changes)

        async def both(database: Database) -> None:
            done = await store.apply(database, definition, base_path=self.folder, actor="ann")
            async with prefect_client() as client:
                spec = campaign_deployment(definition, timezone="UTC")
                ensured = await ensure_deployment(client, spec)
            async with database.write() as session:
                await store.set_deployment(session, done.campaign_id, ensured.id)

        self.with_database(both)

    def deployment(self, name: str) -> Any:
        return self.with_client(lambda client: find_deployment(client, f"{self.tenant}.{name}"))

    def flow_run(self, key: str) -> FlowRun:
        run: FlowRun = self.with_client(lambda client: client.read_flow_run(UUID(key)))
        return run

    def audited(self) -> list[tuple[str, str]]:
        async def read(database: Database) -> list[tuple[str, str]]:
            async with database.read() as session:
                rows = await session.exec(select(AuditLog).order_by(AuditLog.id))  # type: ignore[arg-type]
                return [(row.action, row.subject.removeprefix("campaign:")) for row in rows]

        found: list[tuple[str, str]] = self.with_database(read)
        return found


@pytest.fixture
def desk(
    prefect: PrefectServer,
    sqlite_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tenant_name: str,
    ignition_here: Command,
) -> Desk:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    monkeypatch.setenv("IGNITION_ACTOR", "bob")
    made = Desk(tenant_name, tmp_path, sqlite_database_url, ignition_here)
    made.with_database(lambda database: create_tenant(database, name=tenant_name, actor="ann"))
    for name in NAMES:
        made.apply(name)
    return made


def test_schedules_are_paused_and_stay_so(desk: Desk) -> None:
    """By pattern, audited; applying a changed file does not switch them on again."""
    t = desk.tenant
    planned = desk.ignition("schedule", "pause", f"{t}/news-*", "--dry-run", "--json")
    assert [item["detail"] for item in planned.document] == ["the campaign would be paused"] * 2
    assert not desk.deployment("news-a").paused

    done = desk.ignition("schedule", "pause", f"{t}/news-*", "--json")
    assert [(item["subject"], item["done"]) for item in done.document] == [
        (f"{t}/news-a", True),
        (f"{t}/news-b", True),
    ]
    one = desk.ignition("schedule", "pause", f"{t}/bill", "--schedule", "cron-1")
    assert one.code == 0, one.err
    assert [desk.deployment(name).paused for name in NAMES] == [False, True, True]
    desk.apply("bill", schedules=[{"cron": "0 9 * * *"}, {"interval": "6h"}])
    desk.apply("news-a", schedules=[{"cron": "0 9 * * *"}])

    assert desk.deployment("news-a").paused
    active = {s.slug: s.active for s in desk.deployment("bill").schedules}
    assert active == {"cron-1": False, "interval-2": True}
    other_kind = desk.ignition(
        "schedule", "change", f"{t}/bill", "--schedule", "cron-1", "--quartz", "0 0 9 * * ?"
    )
    assert other_kind.code == 0, other_kind.err
    assert {s.active for s in desk.deployment("bill").schedules if s.slug != "interval-2"} == {
        False
    }
    resumed = desk.ignition("schedule", "resume", "--tag", "letters", "--json")
    assert all(item["done"] for item in resumed.document)
    assert not desk.deployment("news-a").paused
    assert desk.audited().count(("campaign.schedules_paused", "news-a")) == 1
    assert ("campaign.schedules_resumed", "news-b") in desk.audited()
    assert desk.ignition("schedule", "pause", f"{t}/bill", "--schedule", "x").code == 1
    assert desk.ignition("schedule", "pause").code == 2
    assert desk.ignition("schedule", "pause", f"{t}/nothing-*").code == 1


def test_runs_are_started_moved_and_cancelled(desk: Desk) -> None:
    """At a time, in another queue, then at another time, then not at all."""
    t, at = desk.tenant, datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    done = desk.ignition(
        "campaign", "run", f"{t}/news-a", "--at", at.isoformat(), "--priority", "high", "--json"
    )
    first = desk.flow_run(done.document["flow_run_id"])
    assert (first.expected_start_time, first.work_queue_name) == (at, "high")
    assert desk.ignition("campaign", "run", f"{t}/news-a", "--at", "2026-11-21T07:00").code == 1

    later = at + timedelta(hours=3)
    moved = desk.ignition("campaign", "move", first.id, "--at", later.isoformat(), "--json")
    second = desk.flow_run(moved.document["flow_run_id"])
    assert (second.expected_start_time, second.work_queue_name) == (later, "high")
    assert second.parameters == first.parameters
    assert desk.flow_run(str(first.id)).state_name == "Moved"
    assert desk.ignition("campaign", "move", first.id, "--at", later.isoformat()).code == 1

    everyone = desk.ignition("campaign", "run", "--tenant", t, "--json")
    assert [item["subject"] for item in everyone.document] == [f"{t}/{name}" for name in NAMES]
    now = [item["detail"].removeprefix("run ") for item in everyone.document]
    only_due = desk.ignition("campaign", "cancel", "--tenant", t, "--json")
    assert sorted(item["subject"] for item in only_due.document) == sorted(now)
    assert {desk.flow_run(key).state_name for key in now} == {"Cancelled"}
    assert desk.flow_run(str(second.id)).state_name == "Scheduled"

    rest = desk.ignition("campaign", "cancel", f"{t}/*-a", "--scheduled", "--json")
    assert str(second.id) in [item["subject"] for item in rest.document]
    assert desk.flow_run(str(second.id)).state_name == "Cancelled"
    actions = [action for action, name in desk.audited() if name == "news-a"]
    assert actions[:4] == ["campaign.applied", "run.requested", "run.moved", "run.requested"]
    assert "run.cancelled" in actions


def test_edits_are_versions_and_stale_ones_are_refused(desk: Desk) -> None:
    """Whoever edits what someone else has changed meanwhile is told who it was."""
    t = desk.tenant
    done = desk.ignition("campaign", "priority", f"{t}/news-*", "--to", "high", "--json")
    assert [item["detail"] for item in done.document] == ["version 2 stored"] * 2
    assert desk.deployment("news-a").work_queue_name == "high"
    changed = desk.ignition(
        "schedule", "change", f"{t}/news-a", "--schedule", "cron-1", "--cron", "30 7 * * *"
    )
    assert changed.code == 0, changed.err
    assert "version 3 stored" in changed.err
    crons = [getattr(s.schedule, "cron", None) for s in desk.deployment("news-a").schedules]
    assert "30 7 * * *" in crons

    stale = desk.ignition(
        "campaign", "priority", f"{t}/news-a", "--to", "low", "--expect-version", "2"
    )
    assert stale.code == 1
    assert f"{t}/news-a is at version 3, changed by bob at " in stale.err
    wrong = desk.ignition(
        "schedule", "change", f"{t}/news-*", "--schedule", "cron-1", "--cron", "0 0 31 2 *"
    )
    assert wrong.code == 1
    told = desk.ignition("campaign", "history", f"{t}/news-a", "--json").document
    assert [(one["version"], one["actor"], one["changed"]) for one in told[:2]] == [
        (3, "bob", ["schedules"]),
        (2, "bob", ["priority"]),
    ]


def test_many_are_deleted_dependents_first(desk: Desk) -> None:
    """One that others come after stays, and the rest goes all the same."""
    t = desk.tenant
    desk.apply("news-b", after=[f"{t}/news-a"])
    desk.apply("bill", after=[f"{t}/news-b"])
    some = desk.ignition("campaign", "delete", f"{t}/news-*", "--json")
    assert some.code == 1
    assert [item["done"] for item in some.document] == [False, False]
    assert f"{t}/bill comes after {t}/news-b" in some.document[0]["detail"]

    every = desk.ignition("campaign", "delete", "--tenant", t, "--json")
    assert [(item["subject"], item["done"]) for item in every.document] == [
        (f"{t}/{name}", True) for name in ("bill", "news-b", "news-a")
    ]
    assert desk.deployment("news-a") is None
