"""Lapsed leases and late results, under both guarantees: nothing is lost, nothing is guessed."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.ledger.contract import Recovered
from ignition_ext.ledger.rules import MAX_RESENDS
from ignition_ext.values import Guarantee, MessageState, Outcome, OutcomeKind

ADA, BOB = "ada@example.com", "bob@example.com"
UNSENT = Outcome(kind=OutcomeKind.UNSENT, text="nothing was written")


async def test_a_lapsed_lease_is_recovered_by_the_next_claim(scene: Any) -> None:
    """What was claimed is claimed anew; what was on the wire becomes uncertain."""
    run = await scene.run(ADA, BOB)
    lease, ids = await scene.claim(run)
    await scene.ledger.intend(run, lease, [ids[ADA]])
    await scene.lapse(run)

    _, claimed = await scene.claim(run)

    assert list(claimed) == [BOB]
    assert await scene.states(run) == {ADA: "uncertain", BOB: "claimed"}
    assert (await scene.events(ids[ADA]))[-1] == ("sending", "uncertain")


async def test_recover_settles_every_run(scene: Any) -> None:
    """Without a run named, lapsed leases of all runs are settled; living ones are left."""
    first, second, living = await scene.run(ADA), await scene.run(ADA, BOB), await scene.run(ADA)
    await scene.sending(first)
    await scene.claim(second)
    await scene.claim(living)
    await scene.lapse(first)
    await scene.lapse(second)

    assert await scene.ledger.recover() == Recovered(pending=2, uncertain=1)
    assert await scene.ledger.recover() == Recovered(pending=0, uncertain=0)
    assert await scene.states(living) == {ADA: "claimed"}


async def test_recover_settles_messages_without_a_run(scene: Any) -> None:
    """A single send whose sender died: nothing is guessed, and it disturbs no other."""
    run = await scene.run(ADA, BOB)
    lease, ids = await scene.claim(run)
    await scene.ledger.intend(run, lease, [ids[ADA]])
    await scene.lapse(run)
    for table in ("message", "sender_lease"):
        await scene.execute(f"UPDATE {table} SET run_id = NULL")

    assert await scene.ledger.recover() == Recovered(pending=1, uncertain=1)

    states = await scene.execute("SELECT state FROM message ORDER BY address")
    assert [row[0] for row in states] == ["uncertain", "pending"]


async def test_renewing_keeps_a_lease_alive(scene: Any) -> None:
    """A lease that was renewed in time is not recovered."""
    run = await scene.run(ADA)
    lease, ids = await scene.claim(run)
    await scene.lapse(run)
    await scene.ledger.renew(run, lease, timedelta(minutes=1))

    assert await scene.ledger.recover(run) == Recovered(pending=0, uncertain=0)
    assert await scene.ledger.intend(run, lease, [ids[ADA]]) == {ids[ADA]}


async def test_at_least_once_sends_again_what_lapsed(scene: Any) -> None:
    """sending -> uncertain -> pending, as two events, without an attempt."""
    run = await scene.run(ADA, guarantee=Guarantee.AT_LEAST_ONCE)
    _, ids = await scene.sending(run)
    await scene.lapse(run)

    assert await scene.ledger.recover(run) == Recovered(pending=1, uncertain=0)

    assert (await scene.events(ids[ADA]))[-2:] == [
        ("sending", "uncertain"),
        ("uncertain", "pending"),
    ]
    assert (await scene.rows(run))[ADA]["attempts"] == 0


async def test_a_message_that_kills_its_sender_is_not_sent_forever(scene: Any) -> None:
    """at-least-once gives up after a bounded number of copies sent in ignorance."""
    run = await scene.run(ADA, guarantee=Guarantee.AT_LEAST_ONCE)
    for _ in range(MAX_RESENDS + 1):
        await scene.sending(run)
        await scene.lapse(run)

    assert (await scene.claim(run))[1] == {}
    assert await scene.states(run) == {ADA: "uncertain"}


@pytest.mark.parametrize("guarantee", list(Guarantee))
async def test_an_unknown_outcome_follows_the_guarantee(
    scene: Any, unknown: Outcome, guarantee: Guarantee
) -> None:
    """at-most-once leaves it uncertain; at-least-once sends it again."""
    run = await scene.run(ADA, guarantee=guarantee)
    lease, ids = await scene.sending(run)

    state = await scene.settle(run, lease, ids[ADA], unknown)

    again = guarantee is Guarantee.AT_LEAST_ONCE
    assert state is (MessageState.PENDING if again else MessageState.UNCERTAIN)
    assert ("sending", "uncertain") in await scene.events(ids[ADA])


async def test_a_late_result_is_evidence(
    scene: Any, accepted: Any, refused: Outcome, deferred: Outcome
) -> None:
    """After the lease lapsed under at-most-once, each kind of result settles the uncertain."""
    names = ["a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"]
    run = await scene.run(*names)
    lease, ids = await scene.sending(run)
    await scene.lapse(run)
    await scene.ledger.recover(run)
    still_unknown = Outcome(kind=OutcomeKind.UNCERTAIN)

    states = [
        await scene.settle(run, lease, ids[name], outcome)
        for name, outcome in zip(
            names, [accepted(), refused, deferred, UNSENT, still_unknown], strict=True
        )
    ]

    assert states == ["sent", "failed", "failed", "failed", "uncertain"]
    rows = await scene.rows(run)
    assert [rows[name]["attempts"] for name in names] == [1, 1, 1, 0, 0]
    assert rows[names[3]]["failure_class"] == "connection"


@pytest.mark.parametrize("stage", ["pending", "claimed", "sending"])
async def test_a_late_acceptance_stops_the_second_copy_where_it_can(
    scene: Any, accepted: Any, refused: Outcome, stage: str
) -> None:
    """Wherever the message stands on its second way, it is sent, and events tell how."""
    run = await scene.run(ADA, guarantee=Guarantee.AT_LEAST_ONCE)
    late, ids = await scene.sending(run)
    await scene.lapse(run)
    await scene.ledger.recover(run)
    other = None
    if stage != "pending":
        other, _ = await (scene.claim(run) if stage == "claimed" else scene.sending(run))

    assert await scene.settle(run, late, ids[ADA], accepted("late")) is MessageState.SENT

    if other is not None:
        assert await scene.ledger.intend(run, other, [ids[ADA]]) == frozenset()
        assert await scene.settle(run, other, ids[ADA], refused) is MessageState.SENT
    assert (await scene.claim(run))[1] == {}
    assert (await scene.rows(run))[ADA]["attempts"] == 1


async def test_a_late_refusal_waits_for_the_copy_on_the_wire(
    scene: Any, accepted: Any, refused: Outcome, deferred: Outcome
) -> None:
    """While another sender has it on the wire, only that one's word counts against it."""
    run = await scene.run(ADA, guarantee=Guarantee.AT_LEAST_ONCE)
    late, ids = await scene.sending(run)
    await scene.lapse(run)
    current, _ = await scene.sending(run)

    for outcome in (refused, deferred, UNSENT, Outcome(kind=OutcomeKind.UNCERTAIN)):
        assert await scene.settle(run, late, ids[ADA], outcome) is MessageState.SENDING
    assert await scene.settle(run, current, ids[ADA], accepted()) is MessageState.SENT


async def test_a_late_result_after_cancel_changes_nothing(scene: Any, accepted: Any) -> None:
    """cancelled is an end; the design knows no way out of it."""
    run = await scene.run(ADA, guarantee=Guarantee.AT_LEAST_ONCE)
    late, ids = await scene.sending(run)
    await scene.lapse(run)
    await scene.ledger.recover(run)
    await scene.ledger.cancel_open(run, MessageState.CANCELLED)

    assert await scene.settle(run, late, ids[ADA], accepted()) is MessageState.CANCELLED


async def test_results_without_an_intent_are_walked_through(
    scene: Any, accepted: Any, deferred: Outcome, unknown: Outcome
) -> None:
    """Evidence for a message that was only claimed still ends in a legal chain of events."""
    names = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"]
    run = await scene.run(*names)
    lease, ids = await scene.claim(run)

    states = [
        await scene.settle(run, lease, ids[name], outcome)
        for name, outcome in zip(names, [accepted(), deferred, unknown, UNSENT], strict=True)
    ]

    assert states == ["sent", "pending", "uncertain", "pending"]


async def test_a_node_with_a_wrong_clock_changes_nothing(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases, due times and the order of events follow the database, not this process."""
    run = await scene.run(ADA)
    year = 365 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0 + 50 * year)
    monkeypatch.setattr(time, "time_ns", lambda: (1_000_000_000 + 50 * year) * 10**9)
    await scene.snapshot(run, ADA, BOB)

    lease, ids = await scene.sending(run)

    assert set(ids) == {ADA, BOB}
    assert await scene.ledger.recover(run) == Recovered(pending=0, uncertain=0)
    rows = await scene.rows(run)
    assert abs((rows[ADA]["updated_at"] - rows[BOB]["updated_at"]).total_seconds()) < 60
    assert lease is not None
