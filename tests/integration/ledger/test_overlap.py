"""Of runs of one campaign that begin at once, one goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.database import database_now
from ignition_ext.ledger.overlap import give_way, in_the_way
from ignition_ext.ledger.runs import OpenedRun, RunRequest, close_run, mirror, open_run
from ignition_ext.values import RunState
from tasks.make_way import make_way
from tasks.show_ending import EndingKind

EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)


async def opened(scene: Any, number: int, **more: Any) -> OpenedRun:
    request = RunRequest(
        tenant_id=scene.tenant_id,
        campaign_id=scene.campaign_id,
        campaign_version=1,
        flow_run_id=uuid4(),
        flow_run_name=f"acme/welcome {number}",
        scheduled_at=EIGHT + timedelta(minutes=number),
        **more,
    )
    return await open_run(scene.database, request, actor="test")


async def test_a_later_run_gives_way(scene: Any) -> None:
    """It says to which; when that is over, the next one need not."""
    first, second = await opened(scene, 1), await opened(scene, 2)
    reason = await give_way(scene.database, second.ref, actor="test")
    assert reason == "the run acme/welcome 1 is under way"
    assert await give_way(scene.database, first.ref, actor="test") == ""

    await close_run(scene.database, first.ref, RunState.COMPLETED, "", {})
    third = await opened(scene, 3)
    assert await give_way(scene.database, third.ref, actor="test") == ""


@pytest.mark.parametrize("runs", [2, 5])
async def test_of_runs_that_begin_at_once_exactly_one_goes_on(scene: Any, runs: int) -> None:
    """Whoever looks last."""
    begun = [await opened(scene, number) for number in range(runs)]
    reasons = await asyncio.gather(
        *(give_way(scene.database, run.ref, actor="test") for run in begun)
    )

    assert sorted(map(bool, reasons)) == [False] + [True] * (runs - 1)


async def test_a_crashed_run_is_in_nobodys_way(scene: Any) -> None:
    """It may never come back."""
    first, second = await opened(scene, 1), await opened(scene, 2)
    await mirror(scene.database, first.ref, prefect_state="Crashed")

    assert await give_way(scene.database, second.ref, actor="test") == ""


async def test_the_newest_takes_the_others_away(scene: Any) -> None:
    """And whoever is not the newest is told so."""
    first, second = await opened(scene, 1), await opened(scene, 2)

    assert await in_the_way(scene.database, second.ref) == ([first.ref.id], False)
    assert await in_the_way(scene.database, first.ref) == ([], True)


async def test_a_time_limit_begins_anew_with_a_retry(scene: Any) -> None:
    """It stays where it is while the run is only resumed."""
    limit = timedelta(hours=2)
    flow_run = uuid4()

    async def begin() -> OpenedRun:
        request = RunRequest(
            tenant_id=scene.tenant_id,
            campaign_id=scene.campaign_id,
            campaign_version=1,
            flow_run_id=flow_run,
            scheduled_at=EIGHT,
            time_limit=limit,
        )
        return await open_run(scene.database, request, actor="test")

    first = await begin()
    assert first.ends_by == first.ref.run_at + limit
    assert (await begin()).ends_by == first.ends_by
    await close_run(scene.database, first.ref, RunState.FAILED, "", {})
    async with scene.database.read() as session:
        failed_at = await database_now(session)
    again = await begin()
    assert again.ends_by is not None
    assert again.ends_by >= failed_at + limit - timedelta(milliseconds=1)


@pytest.mark.parametrize("end", [RunState.COMPLETED, RunState.FAILED])
async def test_a_run_that_another_flow_run_has_ended_is_left_as_it_is(
    scene: Any, end: RunState
) -> None:
    """Two schedules meet at one time: the second would close what failed as completed."""
    first = await opened(scene, 1)
    await close_run(scene.database, first.ref, end, "as it ended", {})
    second = await opened(scene, 1)
    assert second.ref == first.ref

    plan: Any = None  # what the campaign's file says does not matter
    ending = await make_way(plan, second)

    assert ending is not None
    assert ending.kind is EndingKind.SKIPPED
    assert f"{first.ref.id}: {end}" in ending.message
