"""Runs with two channels: one companion, whoever opens it, that heeds what its lead is asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.legs import (
    account_for_companions,
    cancelled_legs,
    companions_of,
    legs_alone,
    legs_of_others,
    open_companion,
    set_flow_run,
    unstarted_legs,
)
from ignition_ext.ledger.overlap import give_way
from ignition_ext.ledger.run_rows import read_run
from ignition_ext.ledger.runs import (
    OpenedRun,
    RunRequest,
    close_run,
    find_run,
    mirror,
    open_run,
    set_run_state,
)
from ignition_ext.models import CampaignRun
from ignition_ext.values import Channel, Guarantee, MessageState, RunRef, RunState

EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)


def request(scene: Any, number: int = 0, **more: Any) -> RunRequest:
    values: dict[str, Any] = {
        "tenant_id": scene.tenant_id,
        "campaign_id": scene.campaign_id,
        "campaign_version": 1,
        "flow_run_id": uuid4(),
        "flow_run_name": f"acme/welcome {number}",
        "scheduled_at": EIGHT + timedelta(minutes=number),
        "channel": Channel.EMAIL,
    }
    return RunRequest(**values | more)


async def led(scene: Any, number: int = 0, **more: Any) -> OpenedRun:
    return await open_run(scene.database, request(scene, number, **more), actor="test")


async def companion(scene: Any, lead: OpenedRun, **more: Any) -> RunRef:
    opened = await open_companion(scene.database, lead.ref, Channel.SMS, actor="test", **more)
    assert opened is not None
    return opened


async def row(scene: Any, ref: RunRef) -> CampaignRun:
    async with scene.database.read() as session:
        return await read_run(session, ref.id)


async def state(scene: Any, ref: RunRef) -> str:
    return (await row(scene, ref)).state


async def cancel(scene: Any, run: RunRef) -> None:
    await set_run_state(scene.database, run.id, RunState.CANCELLED, reason="enough", actor="test")


async def fill(scene: Any, run: RunRef, *phones: str) -> None:
    async def batches() -> Any:
        yield [NewMessage(channel=Channel.SMS, address=phone, domain="49") for phone in phones]

    await scene.ledger.snapshot(run, batches())


async def test_a_run_has_one_companion_a_channel_whoever_opens_it(scene: Any) -> None:
    """Five at once get the same; it lives in its lead's partition and has no scheduled time."""
    lead = await led(scene, max_messages=7, deadline=timedelta(hours=1))
    refs = await asyncio.gather(
        *(
            companion(scene, lead, guarantee=Guarantee.AT_LEAST_ONCE, runs_for=timedelta(hours=2))
            for _ in range(5)
        )
    )

    assert len(set(refs)) == 1
    async with scene.database.read() as session:
        (found,) = await companions_of(session, lead.ref.id)
    assert (found.id, found.run_at) == (refs[0].id, lead.ref.run_at)
    assert (found.scheduled_at, found.flow_run_id) == (None, None)
    assert (found.channel, found.guarantee, found.max_messages) == ("sms", "at-least-once", 7)
    assert found.flow_run_name == "acme/welcome 0 sms"
    assert found.deadline == found.run_at + timedelta(hours=2)


async def test_a_campaigns_latest_run_is_the_one_that_leads(scene: Any) -> None:
    """What an operator means by the campaign's name."""
    lead = await led(scene)
    await companion(scene, lead)

    async with scene.database.read() as session:
        assert (await find_run(session, "acme/welcome")).id == lead.ref.id


async def test_pause_and_resume_of_the_lead_hold_for_its_companion(scene: Any) -> None:
    """One that is opened meanwhile is paused too; paused by itself, it leaves the lead alone."""
    lead = await led(scene)
    await set_run_state(scene.database, lead.ref.id, RunState.PAUSED, reason="", actor="test")
    second = await companion(scene, lead)
    assert await state(scene, second) == "paused"

    await set_run_state(scene.database, lead.ref.id, RunState.OPEN, reason="", actor="test")
    assert await state(scene, second) == "open"
    await set_run_state(scene.database, second.id, RunState.PAUSED, reason="", actor="test")
    assert (await state(scene, lead.ref), await state(scene, second)) == ("open", "paused")


async def test_cancelling_the_lead_accounts_for_its_companion(scene: Any) -> None:
    """Its messages are cancelled; a flow run that comes back to it finds it cancelled."""
    lead = await led(scene)
    second = await companion(scene, lead)
    await fill(scene, second, "+491701", "+491702")
    flow_run = uuid4()
    await set_flow_run(scene.database, second, flow_run)
    await cancel(scene, lead.ref)
    assert await account_for_companions(scene.database, scene.ledger, lead.ref) == 2
    assert await account_for_companions(scene.database, scene.ledger, lead.ref) == 0

    found = await row(scene, second)
    assert (found.state, found.ended_at, found.state_reason) == ("cancelled", None, "enough")
    assert found.counts["cancelled"] == found.counts["total"] == 2
    async with scene.database.read() as session:
        assert [leg.id for leg in await cancelled_legs(session, limit=9)] == [second.id]
    again = request(scene, flow_run_id=flow_run, leg=second.id, channel=Channel.SMS)
    assert (await open_run(scene.database, again, actor="test")).state is RunState.CANCELLED


async def test_a_flow_run_that_was_asked_for_before_the_cancel_finds_it(scene: Any) -> None:
    """It was made while nobody knew of it; its first attempt is no retry."""
    lead = await led(scene)
    second = await companion(scene, lead)
    await fill(scene, second, "+491701")
    await cancel(scene, lead.ref)
    await account_for_companions(scene.database, scene.ledger, lead.ref)
    assert (await row(scene, second)).ended_at is not None

    late = request(scene, leg=second.id, channel=Channel.SMS)
    assert (await open_run(scene.database, late, actor="test")).state is RunState.CANCELLED


async def test_a_lead_that_is_paused_again_pauses_a_companion_that_was_resumed(scene: Any) -> None:
    """Whoever pauses a run means all of it."""
    lead = await led(scene)
    second = await companion(scene, lead)
    for run, asked in ((lead.ref, "paused"), (second, "open"), (lead.ref, "paused")):
        await set_run_state(scene.database, run.id, RunState(asked), reason="", actor="test")

    assert await state(scene, second) == "paused"


async def test_a_cancelled_run_gets_no_companion(scene: Any) -> None:
    """Whoever was about to open it adds nobody."""
    lead = await led(scene)
    await cancel(scene, lead.ref)

    assert await open_companion(scene.database, lead.ref, Channel.SMS, actor="test") is None


async def test_a_flow_run_adopts_a_companion_and_a_second_one_is_refused(scene: Any) -> None:
    """A retry of the first goes on; so does one after it ended, as with any run."""
    lead = await led(scene)
    second = await companion(scene, lead)
    mine = request(scene, leg=second.id, channel=Channel.SMS, time_limit=timedelta(hours=1))
    opened = await open_run(scene.database, mine, actor="test")
    assert (opened.ref, opened.state, opened.prefect_attempts) == (second, RunState.OPEN, 1)
    assert opened.ends_by is not None
    assert (await row(scene, second)).flow_run_id == mine.flow_run_id

    with pytest.raises(ConflictError, match="has the flow run"):
        await open_run(
            scene.database, request(scene, leg=second.id, channel=Channel.SMS), actor="test"
        )
    await close_run(scene.database, second, RunState.COMPLETED, "", {MessageState.SENT: 1})
    assert (await open_run(scene.database, mine, actor="test")).state is RunState.OPEN


async def test_a_run_that_leads_is_no_companion(scene: Any) -> None:
    """A form filled in by hand does no harm."""
    lead = await led(scene)

    with pytest.raises(NotFoundError, match="no second channel"):
        await open_run(scene.database, request(scene, leg=lead.ref.id), actor="test")


async def test_a_companion_waits_for_its_audience_and_then_for_a_flow_run(scene: Any) -> None:
    """Until both are there nobody but its lead, or reconcile, has anything to do with it."""
    lead = await led(scene)
    second = await companion(scene, lead)
    async with scene.database.read() as session:
        assert await unstarted_legs(session, limit=9) == []
    await scene.ledger.finish_snapshot(second, skipped=0, rejected=0, duplicates=0)

    async with scene.database.read() as session:
        assert [leg.id for leg in await unstarted_legs(session, limit=9)] == [second.id]
    first, other = uuid4(), uuid4()
    assert await set_flow_run(scene.database, second, first)
    assert await set_flow_run(scene.database, second, first)
    assert not await set_flow_run(scene.database, second, other)
    assert await set_flow_run(scene.database, second, other, instead_of=first)
    async with scene.database.read() as session:
        assert await unstarted_legs(session, limit=9) == []


async def test_a_run_is_not_in_its_own_way_and_its_companion_in_that_of_others(scene: Any) -> None:
    """Lead and companion count as one run of the campaign."""
    mine = request(scene)
    lead = await open_run(scene.database, mine, actor="test")
    second = await companion(scene, lead)
    assert await give_way(scene.database, lead.ref, actor="test") == ""
    assert mine.flow_run_id is not None
    await scene.ledger.finish_snapshot(second, skipped=0, rejected=0, duplicates=0)
    await close_run(scene.database, lead.ref, RunState.COMPLETED, "", {})

    async with scene.database.read() as session:
        ids = {"campaign_id": scene.campaign_id}
        own = await legs_of_others(session, flow_run_id=mine.flow_run_id, **ids)
        others = await legs_of_others(session, flow_run_id=uuid4(), **ids)
        assert (list(own), [leg.id for leg in others]) == ([], [second.id])
        assert await legs_alone(session, tenant_id=scene.tenant_id) == 1
    later = await led(scene, 1)
    reason = await give_way(scene.database, later.ref, actor="test")
    assert reason == "the run acme/welcome 0 sms is under way"


@pytest.mark.parametrize("lost", ["failed", "crashed"])
async def test_a_companion_without_its_audience_is_in_nobodys_way(scene: Any, lost: str) -> None:
    """Its lead ended while it read the audience; a retry of that takes it up again."""
    mine = request(scene)
    lead = await open_run(scene.database, mine, actor="test")
    second = await companion(scene, lead)
    if lost == "failed":
        await close_run(scene.database, lead.ref, RunState.FAILED, "AudienceError", {})
    else:
        await mirror(scene.database, lead.ref, prefect_state="Crashed")
    ids = {"campaign_id": scene.campaign_id, "flow_run_id": uuid4()}

    async def in_the_way() -> list[Any]:
        async with scene.database.read() as session:
            return [leg.id for leg in await legs_of_others(session, **ids)]

    assert await in_the_way() == []
    async with scene.database.read() as session:
        assert await legs_alone(session, tenant_id=scene.tenant_id) == 0
    later = await led(scene, 1)
    assert await give_way(scene.database, later.ref, actor="test") == ""

    await open_run(scene.database, mine, actor="test")
    await mirror(scene.database, lead.ref, prefect_state="Running")
    assert await in_the_way() == [second.id]
    assert await state(scene, second) == RunState.OPEN
