"""What Prefect says of a flow run, written into its campaign run."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.states import Crashed, Failed

from ignition_ext.ledger.runs import RunRequest, close_run, find_run, open_run
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration import mirror
from ignition_ext.orchestration.events import CampaignEvent
from ignition_ext.orchestration.mirror import mirror_state
from ignition_ext.values import RunRef, RunState

AWAY = Failed(message="ConnectError: all connection attempts failed")


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events that a Prefect server would have been told."""
    events: list[Any] = []
    monkeypatch.setattr(mirror, "tell", lambda event, **_facts: events.append(event))
    return events


async def begun(scene: Any, flow_run_id: UUID) -> RunRef:
    request = RunRequest(
        tenant_id=scene.tenant_id,
        campaign_id=scene.campaign_id,
        campaign_version=1,
        flow_run_id=flow_run_id,
    )
    return (await open_run(scene.database, request, actor="test")).ref


async def row(scene: Any, run: RunRef) -> CampaignRun:
    async with scene.database.read() as session:
        return await find_run(session, str(run.id))


async def test_a_run_that_failed_without_a_word_is_closed(scene: Any, told: list[Any]) -> None:
    """Its database was away when it wanted to say so; an open one would stand in the next's way."""
    flow_run_id = uuid4()
    run = await begun(scene, flow_run_id)
    await scene.snapshot(run, "a@example.com")

    assert await mirror_state(scene.database, flow_run_id, AWAY)

    found = await row(scene, run)
    assert (found.state, found.prefect_state) == (RunState.FAILED, "Failed")
    assert found.state_reason == AWAY.message
    assert told == [CampaignEvent.FAILED]
    assert found.counts["pending"] == found.counts["total"] == 1
    await begun(scene, flow_run_id)
    assert (await row(scene, run)).state == RunState.OPEN, "a retry goes on with it"


async def test_a_failure_that_was_told_keeps_its_words(scene: Any, told: list[Any]) -> None:
    """Prefect's are the same, or less."""
    flow_run_id = uuid4()
    run = await begun(scene, flow_run_id)
    await close_run(scene.database, run, RunState.FAILED, "AuthenticationFailed: 535", {})

    await mirror_state(scene.database, flow_run_id, AWAY)

    assert (await row(scene, run)).state_reason == "AuthenticationFailed: 535"
    assert not told


async def test_an_old_failure_does_not_close_what_was_begun_again(scene: Any) -> None:
    """Prefect was asked before the retry began, and the answer is written after it."""
    flow_run_id = uuid4()
    run = await begun(scene, flow_run_id)
    attempts = (await row(scene, run)).prefect_attempts
    await begun(scene, flow_run_id)

    assert await mirror_state(scene.database, flow_run_id, AWAY, attempts=attempts)

    found = await row(scene, run)
    assert (found.state, found.prefect_state) == (RunState.OPEN, "")


async def test_a_crashed_run_stays_open(scene: Any) -> None:
    """It is started again."""
    flow_run_id = uuid4()
    run = await begun(scene, flow_run_id)

    await mirror_state(scene.database, flow_run_id, Crashed(message="killed"))

    assert (await row(scene, run)).state == RunState.OPEN
