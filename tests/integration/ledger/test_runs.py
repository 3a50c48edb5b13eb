"""Runs: opened once however often they are asked for, steered, closed, found, audited."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.ledger.runs import (
    OpenedRun,
    RunRequest,
    close_run,
    find_run,
    mirror,
    open_run,
    set_run_state,
)
from ignition_ext.values import MessageState, RunState

EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)


@pytest.fixture
def request_of(scene: Any) -> Any:
    def make(**changes: Any) -> RunRequest:
        base = RunRequest(
            tenant_id=scene.tenant_id,
            campaign_id=scene.campaign_id,
            campaign_version=1,
            flow_run_id=uuid4(),
            flow_run_name="acme/welcome 2026-11-21 08:00",
            scheduled_at=EIGHT,
        )
        return replace(base, **changes)

    return make


async def opened(scene: Any, request: RunRequest) -> OpenedRun:
    return await open_run(scene.database, request, actor="flow:test")


async def actions(scene: Any) -> list[str]:
    rows = await scene.execute("SELECT action FROM audit_log WHERE action LIKE 'run.%' ORDER BY id")
    return [row[0] for row in rows]


async def test_a_retry_of_a_flow_run_continues_its_run(scene: Any, request_of: Any) -> None:
    """The same flow run gets the same run; each time its body begins is counted."""
    request = request_of()

    first, second = await opened(scene, request), await opened(scene, request)

    assert (first.resumed, second.resumed) == (False, True)
    assert first.ref == second.ref
    assert (first.prefect_attempts, second.prefect_attempts) == (1, 2)
    assert abs(first.ref.run_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await actions(scene) == ["run.opened"]


async def test_a_schedule_that_fires_twice_opens_one_run(scene: Any, request_of: Any) -> None:
    """Eight flow runs of one scheduled time at once: one run, opened once."""
    found = await asyncio.gather(*(opened(scene, request_of()) for _ in range(8)))

    assert len({run.ref.id for run in found}) == 1
    assert sorted(run.resumed for run in found) == [False] + [True] * 7
    assert sorted(run.prefect_attempts for run in found) == list(range(1, 9))


async def test_unscheduled_runs_are_their_own(scene: Any, request_of: Any) -> None:
    """Run now, twice: two runs."""
    ids = {(await opened(scene, request_of(scheduled_at=None))).ref.id for _ in range(2)}

    assert len(ids) == 2


@pytest.mark.parametrize("end", [RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED])
async def test_a_retry_opens_a_run_that_had_ended(
    scene: Any, request_of: Any, end: RunState
) -> None:
    """The operator retried it in Prefect: it is open again, and what was cancelled stays so."""
    request = request_of()
    run = (await opened(scene, request)).ref
    await scene.snapshot(run, "ada@example.com")
    if end is RunState.CANCELLED:
        await set_run_state(scene.database, run.id, end, reason="stop", actor="cli:jane")
        await scene.ledger.cancel_open(run, MessageState.CANCELLED)
    await scene.ledger.finish_snapshot(run, skipped=0, rejected=0, duplicates=0)
    await close_run(scene.database, run, end, "over", await scene.ledger.counts(run))

    again = await opened(scene, request)

    assert (again.state, again.resumed) == (RunState.OPEN, True)
    assert again.snapshot_done is (end is not RunState.CANCELLED)
    _, claimed = await scene.claim(run)
    assert list(claimed) == ([] if end is RunState.CANCELLED else ["ada@example.com"])
    assert (await actions(scene))[-2:] == ["run.closed", "run.reopened"]


async def test_a_cancel_that_is_not_closed_survives_a_retry(scene: Any, request_of: Any) -> None:
    """Prefect may retry by itself after the operator's cancel: that opens nothing."""
    request = request_of()
    run = (await opened(scene, request)).ref
    await set_run_state(scene.database, run.id, RunState.CANCELLED, reason="", actor="cli:jane")

    assert (await opened(scene, request)).state is RunState.CANCELLED


@pytest.mark.parametrize("end", [RunState.COMPLETED, RunState.CANCELLED])
async def test_a_second_firing_does_not_open_what_ended(
    scene: Any, request_of: Any, end: RunState
) -> None:
    """Another flow run for the same time finds the run as it ended."""
    run = (await opened(scene, request_of())).ref
    await close_run(scene.database, run, end, "over", {})

    assert (await opened(scene, request_of())).state is end


async def test_steering_is_refused_where_it_makes_no_sense(scene: Any, request_of: Any) -> None:
    """Each step is audited; a run that is over cannot be paused; the same wish twice is one."""
    run = (await opened(scene, request_of())).ref
    steps = [RunState.PAUSED, RunState.PAUSED, RunState.OPEN, RunState.CANCELLED]
    for state in steps:
        ref = await set_run_state(scene.database, run.id, state, reason="why", actor="cli:jane")
        assert ref == run

    for state in (RunState.OPEN, RunState.PAUSED):
        with pytest.raises(ConflictError, match="is cancelled and cannot become"):
            await set_run_state(scene.database, run.id, state, reason="", actor="cli:jane")
    with pytest.raises(NotFoundError):
        await set_run_state(scene.database, uuid4(), RunState.PAUSED, reason="", actor="x")
    assert await actions(scene) == ["run.opened", "run.paused", "run.resumed", "run.cancelled"]


async def test_of_two_wishes_at_once_one_is_told_to_look_again(scene: Any, request_of: Any) -> None:
    """Both ask for the same end; the run is cancelled once and audited once."""
    run = (await opened(scene, request_of())).ref

    results = await asyncio.gather(
        *(
            set_run_state(scene.database, run.id, RunState.CANCELLED, reason="", actor=f"cli:{n}")
            for n in range(4)
        ),
        return_exceptions=True,
    )

    assert {type(result) for result in results} <= {type(run), ConflictError}
    assert await actions(scene) == ["run.opened", "run.cancelled"]


async def test_closing_keeps_the_operators_cancel_and_the_counts(
    scene: Any, request_of: Any
) -> None:
    """A flow that ends after a cancel does not turn it into a success."""
    run = (await opened(scene, request_of())).ref
    await scene.snapshot(run, "ada@example.com")
    await set_run_state(scene.database, run.id, RunState.CANCELLED, reason="stop", actor="x")

    await close_run(
        scene.database, run, RunState.COMPLETED, "", await scene.ledger.counts(run), actor="flow"
    )

    async with scene.database.read() as session:
        row = await find_run(session, str(run.id))
    assert (row.state, row.state_reason) == ("cancelled", "stop")
    assert (row.counts["pending"], row.counts["total"]) == (1, 1)
    assert row.ended_at is not None


async def test_prefects_state_is_mirrored(scene: Any, request_of: Any) -> None:
    """The first start is kept over retries."""
    run = (await opened(scene, request_of())).ref

    await mirror(scene.database, run, prefect_state="Running", started_at=EIGHT)
    await mirror(
        scene.database,
        run,
        prefect_state="Completed",
        started_at=EIGHT + timedelta(hours=1),
        ended_at=EIGHT + timedelta(hours=2),
    )

    async with scene.database.read() as session:
        row = await find_run(session, str(run.id))
    assert (row.prefect_state, row.started_at) == ("Completed", EIGHT)
    assert row.ended_at == EIGHT + timedelta(hours=2)


async def test_a_run_is_found_by_every_name(scene: Any, request_of: Any) -> None:
    """Its id, its flow run's id, and its campaign, whose latest run is meant."""
    request = request_of()
    older = (await opened(scene, request)).ref
    newer = (await opened(scene, request_of(scheduled_at=None))).ref

    async with scene.database.read() as session:
        assert (await find_run(session, str(older.id))).id == older.id
        assert (await find_run(session, str(request.flow_run_id))).id == older.id
        assert (await find_run(session, "acme/welcome")).id == newer.id
        for wrong in (str(uuid4()), "acme/nothing", "welcome", "/"):
            with pytest.raises(NotFoundError):
                await find_run(session, wrong)
