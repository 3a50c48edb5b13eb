"""The health server and ``ignition doctor``, against a real database and Prefect server."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ignition_ext.database import Database
from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.health import Job, serve
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, RunRef

Command = Any
pytestmark = pytest.mark.timeout(600)


async def get(port: int, page: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.get(f"http://127.0.0.1:{port}/health/{page}")


async def open_a_run(url: str) -> RunRef:
    """A run of two messages, of which a dead sender holds one."""
    database = Database(url)
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id, name="news", version=1)
        session.add(campaign)
        await session.flush()
        campaign_id = campaign.id
    assert campaign_id is not None
    request = RunRequest(
        tenant_id=tenant.id,
        campaign_id=campaign_id,
        campaign_version=1,
        flow_run_id=uuid4(),
        flow_run_name="acme/news 2026-11-21 08:00",
    )
    run = (await open_run(database, request, actor="test")).ref

    async def batches() -> AsyncIterator[list[NewMessage]]:
        yield [
            NewMessage(channel=Channel.EMAIL, address=f"{name}@example.com", domain="example.com")
            for name in ("ada", "bob")
        ]

    ledger = open_ledger(database)
    await ledger.snapshot(run, batches())
    await ledger.claim(run, limit=1, lease=timedelta(milliseconds=1))
    await database.close()
    return run


async def test_a_node_says_that_it_lives_can_work_and_what_it_does(
    prefect: PrefectServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's flow runs, and the unfinished runs as the ledger has them."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", database_url)
    run = await open_a_run(database_url)
    job = Job(flow_run_id=uuid4(), name="acme/news", started_at=datetime.now(UTC), process_id=4711)
    before = signal.getsignal(signal.SIGTERM)
    async with serve(0, jobs=lambda: [job]) as port:
        assert signal.getsignal(signal.SIGTERM) is before, "the worker's signals are its own"
        live, ready, jobs = [await get(port, page) for page in ("live", "ready", "jobs")]
        assert (await get(port, "nothing")).status_code == 404

    assert (live.status_code, live.json()["status"]) == (200, "live")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready"), ready.text
    assert {check["name"]: check["verdict"] for check in ready.json()["checks"]} == {
        "database": "ok",
        "prefect": "ok",
    }
    assert jobs.status_code == 200, jobs.text
    [known] = jobs.json()["jobs"]
    assert (known["flow_run_id"], known["process_id"]) == (str(job.flow_run_id), 4711)
    [stands] = jobs.json()["runs"]
    assert stands == {
        "run_id": str(run.id),
        "name": "acme/news 2026-11-21 08:00",
        "state": "open",
        "prefect_state": "",
        "waiting": True,
        "leases": 1,
        "lapsed": 1,
    }


async def test_a_node_without_database_or_server_is_live_and_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what is missing and how to mend it; restarting it would not help."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", f"postgresql://x:y@127.0.0.1:{free_port()}/z")
    async with serve(0) as port:
        live, ready, jobs = [await get(port, page) for page in ("live", "ready", "jobs")]

    assert live.status_code == 200
    assert (ready.status_code, jobs.status_code) == (503, 503)
    checks = {check["name"]: check for check in ready.json()["checks"]}
    assert {check["verdict"] for check in checks.values()} == {"failed"}
    assert all(check["mend"] for check in checks.values())
    assert "x:y" not in ready.text + jobs.text
    assert jobs.json()["jobs"] == []


async def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the worker takes any work."""
    async with serve(0) as port:
        with pytest.raises(OSError, match="in use"):
            async with serve(port):
                raise AssertionError("two on one port")


async def test_doctor_says_the_same(
    prefect: PrefectServer,
    sqlite_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    ignition: Command,
) -> None:
    """A run that lost a process, and whether somebody will mend that."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    await open_a_run(sqlite_database_url)
    told = ignition("doctor", "--json").document
    checks = {check["name"]: check for check in told["checks"]}

    assert checks["database"]["verdict"] == "ok"
    assert checks["prefect"]["verdict"] == "ok"
    assert checks["runs"]["verdict"] == "hint"
    assert "acme/news 2026-11-21 08:00" in checks["runs"]["detail"]
    assert {"reconcile", "senders", "second channels"} <= set(checks)
