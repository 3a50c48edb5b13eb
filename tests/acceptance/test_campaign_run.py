"""Whole runs: a real Prefect server and worker, a real SMTP server, processes that are killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.flow_runs import asuspend_flow_run
from prefect.states import Cancelling, Scheduled
from sqlalchemy import update

from blocks import SmtpServer
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer, PrefectWorker
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.runs import find_run
from ignition_ext.models import CampaignRun, Message, MessageDue
from ignition_ext.orchestration.apply import carry_out, plan
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.mirror import reference_of
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from tasks.keep_house import mirror_runs

pytestmark = pytest.mark.timeout(600)

LEASE_SECONDS = "4"
"""Short, so that a killed sender's messages are free again within a test."""
CONNECTIONS = 2


@pytest.fixture(scope="module")
def worker(prefect_server: PrefectServer) -> Iterator[PrefectWorker]:
    """A worker for email; each run brings its own database along."""
    with PrefectWorker(prefect_server, "email") as running:
        yield running


@dataclass
class Stage:
    """A tenant with a template, a server to send to, and a campaign to run."""

    client: PrefectClient
    database: Database
    smtp: CaptureSmtpServer
    folder: Path
    tenant: str
    environment: dict[str, str]
    deployment_id: UUID | None = None
    recipients: list[str] = field(default_factory=list)

    async def apply(self, recipients: list[str], **more: str) -> None:
        """Store the campaign, with a CSV of these recipients."""
        self.recipients = recipients
        rows = [f"{address},Person {number}" for number, address in enumerate(recipients)]
        (self.folder / "people.csv").write_text("\n".join(["email,name", *rows, ""]))
        said = {
            "name": "news",
            "tenant": self.tenant,
            "channel": "email",
            "audience": "{csv: people.csv}",
            "template": "news",
            "block": f"{self.tenant}-mail",
            "from": "Acme <news@acme.example>",
            **more,
        }
        file = self.folder / "news.yaml"
        file.write_text("".join(f"{key}: {value}\n" for key, value in said.items()))
        planned = await plan(self.database, self.client, file, environment="dev")
        assert planned is not None
        done = await carry_out(self.database, self.client, planned, actor="test")
        self.deployment_id = done.deployment_id

    async def start(self, **parameters: Any) -> UUID:
        assert self.deployment_id is not None
        run = await self.client.create_flow_run_from_deployment(
            self.deployment_id,
            parameters={"parameters": {"campaign": f"{self.tenant}/news", **parameters}},
            job_variables={"env": self.environment},
        )
        return run.id

    async def state(self, flow_run_id: UUID, *names: str, runs: int = 1) -> FlowRun:
        """The flow run, once it is in one of these states for the given time."""

        async def look() -> FlowRun | None:
            run = await self.client.read_flow_run(flow_run_id)
            return run if run.state_name in names and run.run_count >= runs else None

        try:
            return await wait_until(look)
        except TimeoutError:  # pragma: no cover - what a failure shows
            states = await self.client.read_flow_run_states(flow_run_id)
            story = "\n".join(f"{s.timestamp} {s.name}: {s.message}" for s in states)
            pytest.fail(f"never in {names} with {runs} runs:\n{story}")

    async def retry(self, flow_run_id: UUID) -> None:
        """What Retry does in the UI."""
        await self.client.set_flow_run_state(flow_run_id, Scheduled(), force=True)

    async def row(self, flow_run_id: UUID) -> CampaignRun:
        async with self.database.read() as session:
            return await find_run(session, str(flow_run_id))

    async def counts(self, flow_run_id: UUID) -> dict[str, int]:
        """Messages by state, without the empty ones."""
        row = await self.row(flow_run_id)
        counts = await open_ledger(self.database).counts(reference_of(row))
        return {state.value: count for state, count in counts.items() if count}

    def arrived(self) -> Counter[str]:
        """How often each recipient's message was accepted."""
        return Counter(message.recipients[0] for message in self.smtp.accepted)


async def wait_until(look: Callable[[], Awaitable[Any]], seconds: float = 180) -> Any:
    """The first answer that is not empty."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - the condition is a server's
            await asyncio.sleep(0.1)
    return found


@pytest.fixture
async def stage(
    prefect: PrefectServer,
    worker: PrefectWorker,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    environment = {
        "IGNITION_DATABASE_URL": sqlite_database_url,
        "IGNITION_LEASE_SECONDS": LEASE_SECONDS,
        "IGNITION_DRAIN_SECONDS": "5",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News for {{ name }}")
    (template / "body.html").write_text("<p>Hello {{ name }}</p>")
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, timezone="Asia/Tokyo", actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client, CaptureSmtpServer() as smtp:
        block = SmtpServer(
            host="127.0.0.1", port=smtp.port, security="none", connections=CONNECTIONS
        )
        await block.asave(f"{tenant_name}-mail", client=client)
        yield Stage(client, database, smtp, tmp_path, tenant_name, environment)
    await database.close()


def people(count: int) -> list[str]:
    return [f"p{number}@example.com" for number in range(count)]


async def _ended_tasks(stage: Stage, flow_run_id: UUID) -> list[TaskRun]:
    """The run's task runs once all have ended: the server learns of them in the background."""
    tasks = await stage.client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    )
    is_whole = any(task.name.startswith("close_run") for task in tasks)
    return tasks if is_whole and all(task.state and task.state.is_final() for task in tasks) else []


async def test_a_run_sends_reports_and_when_retried_sends_nothing_twice(stage: Stage) -> None:
    """From the audience to the report; the second time its body runs and nobody gets a copy."""
    refused = ["reject-550@example.com", "content-reject-554@example.com"]
    await stage.apply([*people(300), *refused], delivery="{batch: 100}")
    flow_run_id = await stage.start()
    run = await stage.state(flow_run_id, "Completed")

    assert run.state is not None
    assert run.state.message == "300 sent, 2 failed"
    assert re.fullmatch(rf"{stage.tenant}/news \d{{4}}-\d\d-\d\d \d\d:\d\d", run.name)
    assert f"tenant:{stage.tenant}" in run.tags
    assert stage.arrived() == Counter(people(300))
    assert await stage.counts(flow_run_id) == {"sent": 300, "failed": 2}

    tasks = await wait_until(lambda: _ended_tasks(stage, flow_run_id))
    assert 5 <= len(tasks) < 30
    assert {task.state_type for task in tasks} == {StateType.COMPLETED}
    artifacts = await stage.client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    )
    by_type = {artifact.type: artifact for artifact in artifacts}
    assert by_type["progress"].data == 100
    assert "300 sent, 2 failed" in str(by_type["markdown"].data)
    assert "data:image/svg+xml;base64," in str(by_type["markdown"].data)

    row = await wait_until(lambda: _mirrored(stage, flow_run_id, "Completed"))
    assert (row.state, row.prefect_attempts) == ("completed", 1)
    assert row.started_at is not None
    assert row.ended_at is not None
    await stage.retry(flow_run_id)
    again = await stage.state(flow_run_id, "Completed", runs=2)

    assert again.state is not None
    assert again.state.message == "300 sent, 2 failed"
    assert again.name == run.name
    assert (await stage.row(flow_run_id)).prefect_attempts == 2
    assert stage.arrived() == Counter(people(300))
    await _require_events(stage, flow_run_id)


async def _mirrored(stage: Stage, flow_run_id: UUID, name: str) -> CampaignRun | None:
    row = await stage.row(flow_run_id)
    return row if row.prefect_state == name else None


async def _require_events(stage: Stage, flow_run_id: UUID) -> None:
    """Events arrive in the background: each kind, with counts, under the campaign's name."""
    resource = f"ignition.campaign.{stage.tenant}.news"

    async def look() -> dict[str, Any] | None:
        body = {"filter": {"any_resource": {"id": [resource]}}, "limit": 50}
        answer = await stage.client._client.post("/events/filter", json=body)
        told = {event["event"]: event for event in answer.json()["events"]}
        wanted = {
            "ignition.campaign.started",
            "ignition.message-batch.sent",
            "ignition.campaign.completed",
        }
        return told if wanted <= set(told) else None

    told = await wait_until(look)
    assert told["ignition.campaign.completed"]["payload"]["counts"] == {"sent": 300, "failed": 2}


async def test_a_run_killed_halfway_sends_the_rest_when_retried(
    stage: Stage, worker: PrefectWorker
) -> None:
    """kill -9 of the flow's process: nobody gets two copies, few stay uncertain, none is lost."""
    await stage.apply(people(200), throttle="{per_second: 40}")
    flow_run_id = await stage.start()
    await wait_until(lambda: _enough(stage, 30))
    reports = _crash_reports(worker)
    os.kill(_processes_of(flow_run_id)[-1], signal.SIGKILL)
    await stage.state(flow_run_id, "Crashed")
    before = sum(stage.arrived().values())
    await wait_until(lambda: _mirrored(stage, flow_run_id, "Crashed"))
    # Prefect 3.8.8 reports a crash twice, the second time when the hook has run, and would take
    # that for the next attempt's. The worker's advice follows its report.
    await wait_until(lambda: _another_report(worker, reports), 120)
    await stage.retry(flow_run_id)
    await stage.state(flow_run_id, "Completed", runs=2)

    counts = await stage.counts(flow_run_id)
    assert before < 200, "it was killed too late to show anything"
    assert max(stage.arrived().values()) == 1
    assert sum(counts.values()) == 200
    assert set(counts) <= {"sent", "uncertain"}
    assert counts.get("uncertain", 0) <= 2 * CONNECTIONS
    assert counts["sent"] <= sum(stage.arrived().values()) <= 200


async def _enough(stage: Stage, wanted: int) -> bool:
    return sum(stage.arrived().values()) >= wanted


def _processes_of(flow_run_id: UUID) -> list[int]:
    """What runs for this flow run: the engine, and the worker's supervisor of it."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            known = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            if folder.name.isdigit() and str(flow_run_id).encode() in known:
                found.append(int(folder.name))
    return sorted(found)


async def _supervisor_gone(flow_run_id: UUID) -> bool:
    return not await asyncio.to_thread(_processes_of, flow_run_id)


def _crash_reports(worker: PrefectWorker) -> int:
    return worker.log.read_text().count("flow_runs.worker - Check whether")


async def _another_report(worker: PrefectWorker, before: int) -> bool:
    return await asyncio.to_thread(_crash_reports, worker) > before


async def test_a_cancelled_run_stops_within_seconds_and_accounts_for_the_rest(
    stage: Stage,
) -> None:
    """The far side holds what the ledger calls sent; everything else is cancelled."""
    await stage.apply(people(400), throttle="{per_second: 20}")
    flow_run_id = await stage.start()
    await wait_until(lambda: _enough(stage, 10))
    await stage.client.set_flow_run_state(flow_run_id, Cancelling())

    async def accounted() -> dict[str, int] | None:
        counts = await stage.counts(flow_run_id)
        return counts if set(counts) <= {"sent", "cancelled"} else None

    counts = await wait_until(accounted, seconds=15)
    assert counts["sent"] == sum(stage.arrived().values())
    assert counts["sent"] + counts["cancelled"] == 400
    assert max(stage.arrived().values()) == 1
    await stage.state(flow_run_id, "Cancelled")
    row = await wait_until(lambda: _mirrored(stage, flow_run_id, "Cancelled"))
    assert row.state == "cancelled"
    assert await stage.counts(flow_run_id) == counts


async def test_a_far_deferral_gives_the_workers_slot_back_and_can_be_cancelled(
    stage: Stage,
) -> None:
    """The run waits in Prefect, not in a process; started early it only looks and waits on."""
    await stage.apply(
        [*people(3), "defer-451@example.com"], retry="{strategy: fixed, base: 30m, max: 30m}"
    )
    flow_run_id = await stage.start()
    waiting = await stage.state(flow_run_id, "AwaitingRetry")

    assert waiting.next_scheduled_start_time is not None
    assert waiting.state is not None
    assert waiting.state.message == "3 sent, 1 deferred"
    await wait_until(lambda: _mirrored(stage, flow_run_id, "AwaitingRetry"))
    await stage.retry(flow_run_id)
    await stage.state(flow_run_id, "AwaitingRetry", runs=2)
    assert stage.arrived() == Counter(people(3))

    await wait_until(lambda: _supervisor_gone(flow_run_id))
    await stage.client.set_flow_run_state(flow_run_id, Cancelling())
    await stage.state(flow_run_id, "Cancelled")
    # No process was there to run a hook: this is what reconcile is for.
    assert list((await mirror_runs.fn()).values()) == ["Cancelled"]
    assert await stage.counts(flow_run_id) == {"sent": 3, "cancelled": 1}


async def test_a_run_in_quiet_hours_gives_the_slot_back_and_sends_when_they_are_over(
    stage: Stage,
) -> None:
    """Held at the snapshot, and held again by the claim of a run that is started in the night."""
    here = datetime.now(ZoneInfo("Asia/Tokyo"))  # the tenant's zone
    start, end = here - timedelta(hours=2), here + timedelta(hours=2)
    await stage.apply(people(3), delivery=f'{{quiet_hours: "{start:%H:%M}-{end:%H:%M}"}}')
    flow_run_id = await stage.start()
    waiting = await stage.state(flow_run_id, "AwaitingRetry")
    await wait_until(lambda: _supervisor_gone(flow_run_id))

    assert waiting.state is not None
    assert waiting.state.message == "3 pending"
    due = waiting.next_scheduled_start_time
    assert due is not None
    assert abs(due - end.replace(second=0, microsecond=0)) < timedelta(minutes=1)
    await _make_due(stage)
    await stage.retry(flow_run_id)
    await stage.state(flow_run_id, "AwaitingRetry", runs=2)
    await wait_until(lambda: _supervisor_gone(flow_run_id))
    assert await stage.counts(flow_run_id) == {"pending": 3}
    assert (stage.smtp.connections, stage.smtp.received) == (1, 0)  # pre-flight asked once

    await stage.apply(people(3))
    await _make_due(stage)
    await stage.retry(flow_run_id)
    await stage.state(flow_run_id, "Completed", runs=3)
    assert stage.arrived() == Counter(people(3))
    tasks = await stage.client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    )
    assert sum(task.name.startswith("preflight") for task in tasks) == 1


async def _make_due(stage: Stage) -> None:
    """As if the time had come that messages are held for."""
    past = datetime.now(UTC) - timedelta(minutes=1)
    async with stage.database.write() as session:
        connection = await session.connection()
        await connection.execute(update(Message).values(not_before=past))
        await connection.execute(update(MessageDue).values(not_before=past))


async def test_a_run_is_suspended_and_resumed_in_prefect(stage: Stage) -> None:
    """Prefect's own way, as its UI does it: the process ends, and a new one sends the rest."""
    await stage.apply(people(200), throttle="{per_second: 20}")
    flow_run_id = await stage.start()
    await wait_until(lambda: _enough(stage, 10))
    await asuspend_flow_run(flow_run_id=flow_run_id)
    await wait_until(lambda: _supervisor_gone(flow_run_id))

    so_far = sum(stage.arrived().values())
    assert so_far < 200
    assert await stage.counts(flow_run_id) == {"sent": so_far, "pending": 200 - so_far}
    assert (await stage.row(flow_run_id)).prefect_state == "Suspended"
    await stage.client.resume_flow_run(flow_run_id)
    await stage.state(flow_run_id, "Completed")
    assert stage.arrived() == Counter(people(200))
