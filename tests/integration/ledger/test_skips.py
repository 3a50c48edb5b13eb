"""Runs that had a reason not to send: one row each, which gives way to whoever may send."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.ledger.runs import RunRequest, find_run, open_run
from ignition_ext.ledger.skips import skip_run
from ignition_ext.models import CampaignRun
from ignition_ext.values import MessageState, RunState

EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)
WHY = "the condition does not hold"


@pytest.fixture
def request_(scene: Any) -> RunRequest:
    return RunRequest(
        tenant_id=scene.tenant_id,
        campaign_id=scene.campaign_id,
        campaign_version=1,
        flow_run_id=uuid4(),
        flow_run_name="acme/welcome 2026-11-21 08:00",
        scheduled_at=EIGHT,
    )


async def skipped(scene: Any, request: RunRequest) -> CampaignRun:
    return await skip_run(
        scene.database, request, reason=WHY, actor="flow:test", prefect_state="Skipped"
    )


async def actions(scene: Any) -> list[str]:
    rows = await scene.execute("SELECT action FROM audit_log WHERE action LIKE 'run.%' ORDER BY id")
    return [row[0] for row in rows]


async def test_a_skipped_run_is_kept_with_its_reason(scene: Any, request_: RunRequest) -> None:
    """It has its times and Prefect's ids, no messages, and is found like any other."""
    row = await skipped(scene, request_)

    async with scene.database.read() as session:
        found = await find_run(session, str(request_.flow_run_id))
    assert found.id == row.id
    assert (found.state, found.state_reason) == (RunState.SKIPPED, WHY)
    assert (found.prefect_state, found.scheduled_at) == ("Skipped", EIGHT)
    assert found.started_at is not None
    assert found.ended_at is not None
    assert found.counts == {state.value: 0 for state in MessageState} | {"total": 0}
    assert await actions(scene) == ["run.skipped"]


async def test_it_counts_in_the_view(scene: Any, request_: RunRequest) -> None:
    """Analysts see it as a run of its own state."""
    await skipped(scene, request_)

    schema = "analytics." if scene.database.dialect == "postgresql" else ""
    rows = await scene.execute(f"SELECT state, prefect_state, total FROM {schema}run_history")
    assert [tuple(row) for row in rows] == [("skipped", "Skipped", 0)]


async def test_skipping_again_changes_nothing(scene: Any, request_: RunRequest) -> None:
    """However many do it at once."""
    rows = await asyncio.gather(*(skipped(scene, request_) for _ in range(6)))

    assert len({row.id for row in rows}) == 1
    assert await actions(scene) == ["run.skipped"]


async def test_a_run_that_was_opened_is_not_skipped(scene: Any, request_: RunRequest) -> None:
    """What was sent before is not made undone by a reason found later."""
    await open_run(scene.database, request_, actor="flow:test")
    row = await skipped(scene, request_)

    assert row.state == RunState.OPEN
    assert await actions(scene) == ["run.opened"]


@pytest.mark.parametrize("again", [True, False], ids=["retried", "another-flow-run"])
async def test_a_skipped_run_gives_way(scene: Any, request_: RunRequest, again: bool) -> None:
    """A retry of it sends, and so does another schedule's run for the same time."""
    row = await skipped(scene, request_)
    request = request_ if again else replace(request_, flow_run_id=uuid4())
    run = await open_run(scene.database, request, actor="flow:test")

    assert (run.ref.id, run.state) == (row.id, RunState.OPEN)
    async with scene.database.read() as session:
        found = await find_run(session, str(request.flow_run_id))
    assert (found.state, found.state_reason, found.ended_at) == (RunState.OPEN, "", None)
    assert await actions(scene) == ["run.skipped", "run.reopened"]
