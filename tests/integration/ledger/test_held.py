"""Runs in steps: what a step has not come to cannot be claimed, whoever asks and whatever dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.campaigns.definition import DeliverySpec
from ignition_ext.campaigns.step_rows import advance, begin_steps, read_steps
from ignition_ext.campaigns.step_stops import (
    Decision,
    DecisionKind,
    decide,
    is_stopped,
    judge,
    keep_stopped,
)
from ignition_ext.errors import ConflictError
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.run_rows import read_run
from ignition_ext.ledger.runs import RunRequest, close_run, open_run, set_run_state
from ignition_ext.values import MessageState, RunRef, RunState

PEOPLE = [f"p{number:04}@{'far' if number % 3 else 'near'}.example" for number in range(300)]


InSteps = Callable[..., Awaitable[RunRef]]


@pytest.fixture
def in_steps(scene: Any, new_messages: Any, in_batches: Any) -> InSteps:
    """Opens a run that goes out so, with its whole audience."""

    async def make(*addresses: str, **delivery: Any) -> RunRef:
        request = RunRequest(
            tenant_id=scene.tenant_id,
            campaign_id=scene.campaign_id,
            campaign_version=1,
            flow_run_id=delivery.pop("flow_run_id", None),
        )
        run: RunRef = (await open_run(scene.database, request, actor="test")).ref
        spec = DeliverySpec.model_validate(delivery)
        is_held = await begin_steps(scene.database, run, spec)
        assert is_held is bool(spec.ramp)
        batches = in_batches(new_messages(*addresses), 70)
        await scene.ledger.snapshot(run, batches, is_held=is_held)
        await scene.ledger.finish_snapshot(run, skipped=0, rejected=0, duplicates=0)
        return run

    return make


async def take(scene: Any, run: RunRef) -> Any:
    return await advance(scene.database, scene.ledger, run, await scene.ledger.counts(run))


async def pass_time(scene: Any, run: RunRef) -> None:
    """Let the wait for the next step be over, as if its time had passed in the database."""
    past = "2020-01-01 00:00:00.000000"
    if scene.database.dialect == "sqlite":
        await scene.execute(
            "UPDATE run_steps SET next_at = :at WHERE run_id = :run", at=past, run=run.id.hex
        )
    else:
        await scene.execute(
            "UPDATE run_steps SET next_at = now() - interval '1 second' WHERE run_id = :run",
            run=run.id,
        )


async def send_all(scene: Any, run: RunRef, outcome: Any) -> list[str]:
    """Send what can be claimed; ``outcome`` says of each address what became of it."""
    sent: list[str] = []
    while True:
        lease, ids = await scene.claim(run)
        if not ids:
            return sent
        await scene.ledger.intend(run, lease, list(ids.values()))
        for address, key in ids.items():
            await scene.settle(run, lease, key, outcome(address))
        await scene.ledger.release(run, lease)
        sent += ids


async def test_each_step_lets_go_exactly_its_share(
    scene: Any, in_steps: InSteps, accepted: Any
) -> None:
    """1 %, then 10 %, then all; between them nothing can be claimed before the time."""
    run = await in_steps(*PEOPLE, ramp=["1%", "10%", "100%"], ramp_wait="30m")
    assert (await scene.claim(run))[1] == {}

    first = await take(scene, run)
    assert (first.step, first.released, first.targets) == (1, 3, [3, 30, 300])
    out = await send_all(scene, run, lambda _: accepted())
    assert len(out) == 3

    waits = await take(scene, run)
    assert (waits.step, waits.released) == (1, 3)
    assert waits.next_at is not None
    again = await take(scene, run)
    assert again.next_at == waits.next_at
    assert (await scene.claim(run))[1] == {}

    await pass_time(scene, run)
    assert (await take(scene, run)).released == 30
    out += await send_all(scene, run, lambda _: accepted())
    assert len(out) == 30
    await take(scene, run)
    await pass_time(scene, run)
    last = await take(scene, run)
    assert (last.step, last.released) == (3, 300)
    out += await send_all(scene, run, lambda _: accepted())

    assert sorted(out) == PEOPLE
    assert not await scene.ledger.is_open(run)


async def test_the_first_step_is_a_sample_of_the_whole_audience(
    scene: Any, in_steps: InSteps
) -> None:
    """Not the head of the file, and not the same people each time."""
    people = [f"p{number:05}@example.com" for number in range(1000)]
    chosen = []
    for _ in range(2):
        run = await in_steps(*people, ramp=[200, "100%"])
        await take(scene, run)
        lease = await scene.ledger.claim(run, limit=500, lease=timedelta(minutes=1))
        chosen.append({message.address for message in lease.messages})
        await scene.ledger.release(run, lease.id)

    for sample in chosen:
        assert len(sample) == 200
        # Of 200 drawn from 1000, 100 are of the first half, give or take 5.6 each sigma.
        assert 50 < len(sample & set(people[:500])) < 150
    assert chosen[0] != chosen[1]


async def test_senders_at_once_never_exceed_the_step(
    scene: Any, in_steps: InSteps, accepted: Any
) -> None:
    """Eight that claim, crash and come back while the step is let go, by two at once."""
    run = await in_steps(*PEOPLE, ramp=[97, "100%"])
    seen: set[str] = set()
    chance = random.Random(4)

    async def sender() -> None:
        for _ in range(12):
            lease = await scene.ledger.claim(run, limit=7, lease=timedelta(minutes=1))
            seen.update(message.address for message in lease.messages)
            assert len(seen) <= 97
            if chance.random() < 0.5:
                await scene.ledger.release(run, lease.id)

    counts = await scene.ledger.counts(run)
    await asyncio.gather(
        *(sender() for _ in range(8)),
        *(advance(scene.database, scene.ledger, run, counts) for _ in range(2)),
    )
    await scene.lapse(run)
    await send_all(scene, run, lambda _: accepted())

    counts = await scene.ledger.counts(run)
    assert counts[MessageState.SENT] == 97
    assert counts[MessageState.PENDING] == 203
    assert (await read_steps(scene.database, run.id)).released == 97


async def test_a_crash_within_a_step_is_made_good(scene: Any, in_steps: InSteps) -> None:
    """The step was counted as begun and only a part was let go: the rest follows, no more."""
    run = await in_steps(*PEOPLE, ramp=[90, "100%"])
    await take(scene, run)
    await scene.execute("UPDATE run_steps SET step = 2 WHERE run_id = :run", run=scene.key(run.id))

    whole = await take(scene, run)

    assert (whole.step, whole.released) == (2, 300)


async def test_deferred_messages_do_not_hold_up_the_next_step(
    scene: Any, in_steps: InSteps, deferred: Any, accepted: Any
) -> None:
    """They were tried; what is claimed, or was never tried, is waited for."""
    hour = timedelta(hours=1)
    scene.retry = StandardRetry(strategy="fixed", attempts=3, base=hour, max=hour)
    run = await in_steps(*PEOPLE[:20], ramp=[10, "100%"])
    await take(scene, run)
    lease, ids = await scene.claim(run)
    assert (await take(scene, run)).next_at is None
    await scene.ledger.intend(run, lease, list(ids.values()))
    for place, key in enumerate(ids.values()):
        await scene.settle(run, lease, key, deferred if place % 2 else accepted())

    assert (await take(scene, run)).next_at is not None


@pytest.mark.parametrize("end", [MessageState.CANCELLED, MessageState.EXPIRED])
async def test_what_is_held_ends_with_its_run(
    scene: Any, in_steps: InSteps, end: MessageState
) -> None:
    """A cancelled run lets nothing go any more and accounts for what it held."""
    run = await in_steps(*PEOPLE, ramp=["10%", "100%"])
    await take(scene, run)
    assert await scene.ledger.is_open(run)

    await set_run_state(scene.database, run.id, RunState.CANCELLED, reason="", actor="test")
    assert await scene.ledger.cancel_open(run, end) == 300

    assert (await scene.ledger.counts(run))[end] == 300
    assert not await scene.ledger.is_open(run)
    assert await scene.ledger.release_held(run, upto=300) == 0


async def test_a_paused_run_begins_no_step(scene: Any, in_steps: InSteps) -> None:
    """Its operator said so."""
    run = await in_steps(*PEOPLE, ramp=["10%", "100%"])
    await set_run_state(scene.database, run.id, RunState.PAUSED, reason="", actor="test")

    assert (await take(scene, run)).step == 0
    assert await scene.ledger.release_held(run, upto=300) == 0


async def test_a_run_that_has_begun_keeps_its_steps(scene: Any, in_steps: InSteps) -> None:
    """Neither a retry nor another campaign file makes it begin again, or begin at all."""
    run = await in_steps(*PEOPLE, ramp=["10%", "100%"])
    await take(scene, run)
    other = DeliverySpec.model_validate({"ramp": [1, "100%"]})
    assert await begin_steps(scene.database, run, other)
    assert (await take(scene, run)).targets == [30, 300]

    plain = await scene.run(*PEOPLE)
    assert not await begin_steps(scene.database, plain, other)
    assert await read_steps(scene.database, plain.id) is None


async def test_too_many_failures_stop_the_run_once(
    scene: Any, in_steps: InSteps, accepted: Any, refused: Any
) -> None:
    """Stopped, audited and announced once; then only what comes later is measured."""
    run = await in_steps(
        *PEOPLE,
        ramp=[100, "100%"],
        stop_if={"failed": "5%", "bounced": "2%", "after": 50},
    )
    await take(scene, run)
    failed = iter(range(1000))
    await send_all(scene, run, lambda _: refused if next(failed) < 6 else accepted())
    counts = await scene.ledger.counts(run)

    stops = [await judge(scene.database, scene.ledger, run, counts) for _ in range(2)]

    assert stops[1] is None
    assert stops[0].stop["reason"] == "6 of 100 failed (6.00 %, at 5%)"
    assert stops[0].stop["classes"] == {"address": 6}
    assert sum(stops[0].stop["domains"].values()) == 6
    async with scene.database.read() as session:
        row = await read_run(session, run.id)
    assert (row.state, is_stopped(stops[0], row.state)) == ("paused", True)
    announced = await scene.execute("SELECT name FROM outbox_event")
    assert [name for (name,) in announced] == ["ignition.run.stopped"]
    assert (await take(scene, run)).step == 1
    assert (await scene.claim(run))[1] == {}

    await decide(
        scene.database,
        scene.ledger,
        run,
        Decision(kind=DecisionKind.CONTINUE, note="their server was down"),
        actor="eva",
    )

    assert await judge(scene.database, scene.ledger, run, counts) is None
    with pytest.raises(ConflictError, match="does not wait for a decision"):
        await decide(
            scene.database,
            scene.ledger,
            run,
            Decision(kind=DecisionKind.CONTINUE),
            actor="eva",
        )
    audited = await scene.execute("SELECT actor, action FROM audit_log ORDER BY seq")
    assert [tuple(row) for row in audited][-3:] == [
        ("ignition", "run.step-begun"),
        ("ignition", "run.stopped"),
        ("eva", "run.approved"),
    ]


async def test_after_an_approval_new_failures_stop_it_again(
    scene: Any, in_steps: InSteps, accepted: Any, refused: Any
) -> None:
    """Unless the operator said that nobody shall watch."""
    run = await in_steps(*PEOPLE, stop_if={"failed": "5%", "after": 50})
    number = iter(range(1000))

    async def send(count: int, outcome: Any) -> None:
        lease, ids = await scene.claim(run, count)
        await scene.ledger.intend(run, lease, list(ids.values()))
        for key in ids.values():
            await scene.settle(run, lease, key, outcome(next(number)))
        await scene.ledger.release(run, lease)

    async def look() -> Any:
        return await judge(scene.database, scene.ledger, run, await scene.ledger.counts(run))

    await send(49, lambda _: refused)
    assert await look() is None  # not judged before fifty
    await send(1, lambda _: accepted())
    assert (await look()).stops == 1
    go_on = Decision(kind=DecisionKind.CONTINUE)
    await decide(scene.database, scene.ledger, run, go_on, actor="eva")
    await send(50, lambda at: refused if at < 52 else accepted())
    assert await look() is None  # two of fifty, not 51 of 100
    await send(50, lambda at: refused if at < 103 else accepted())
    assert (await look()).stops == 2  # five of a hundred since the decision
    blindly = Decision(kind=DecisionKind.CONTINUE, keep_watching=False)
    await decide(scene.database, scene.ledger, run, blindly, actor="eva")
    await send(60, lambda _: refused)

    assert await look() is None


async def test_a_rejection_is_written_down_and_leaves_the_run_stopped(
    scene: Any, in_steps: InSteps, refused: Any
) -> None:
    """Whoever decided so cancels it then; should he die between, he can say it again."""
    run = await in_steps(*PEOPLE[:60], ramp=[50, "100%"], stop_if={"failed": "5%"})
    await take(scene, run)
    await send_all(scene, run, lambda _: refused)
    await judge(scene.database, scene.ledger, run, await scene.ledger.counts(run))

    no = Decision(kind=DecisionKind.CANCEL, note="wrong list")
    await decide(scene.database, scene.ledger, run, no, actor="eva")

    steps = await read_steps(scene.database, run.id)
    assert is_stopped(steps, "paused")
    assert not is_stopped(steps, "cancelled")


@pytest.mark.parametrize("size", [60, 50], ids=["with a rest", "all sent"])
async def test_a_retry_does_not_go_on_before_a_decision(
    scene: Any, in_steps: InSteps, refused: Any, size: int
) -> None:
    """The run failed while it was stopped; opened again, it stands where it stood."""
    flow_run_id = uuid4()
    run = await in_steps(
        *PEOPLE[:size], ramp=[49, "100%"], stop_if={"failed": "5%"}, flow_run_id=flow_run_id
    )
    await take(scene, run)
    await send_all(scene, run, lambda _: refused)
    await judge(scene.database, scene.ledger, run, await scene.ledger.counts(run))
    if size == 50:
        await scene.ledger.cancel_open(run, MessageState.EXPIRED)
    counts = await scene.ledger.counts(run)
    await close_run(scene.database, run, RunState.FAILED, "the block is gone", counts)
    request = RunRequest(
        tenant_id=scene.tenant_id,
        campaign_id=scene.campaign_id,
        campaign_version=1,
        flow_run_id=flow_run_id,
    )
    assert (await open_run(scene.database, request, actor="test")).state is RunState.OPEN

    stands = [await keep_stopped(scene.database, run, counts) for _ in range(2)]

    assert stands == [size == 60, False]
    async with scene.database.read() as session:
        state = (await read_run(session, run.id)).state
    assert is_stopped(await read_steps(scene.database, run.id), state) is (size == 60)
