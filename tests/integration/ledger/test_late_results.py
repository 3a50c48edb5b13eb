"""What senders on other nodes say of a run after it was cancelled and counted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.ledger.late_results import account_again, unaccounted_runs
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration import mirror
from ignition_ext.orchestration.mirror import cancel_run
from ignition_ext.values import FailureClass, Outcome, OutcomeKind, RunRef, RunState

DAY = timedelta(days=1)
LATER = Outcome(
    kind=OutcomeKind.DEFERRED, code="451", text="try later", failure_class=FailureClass.POLICY
)
UNSENT = Outcome(kind=OutcomeKind.UNSENT, text="the link was lost")
SENT = Outcome(kind=OutcomeKind.ACCEPTED, code="250", text="ok")


@pytest.fixture(autouse=True)
def nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no Prefect server for events."""
    monkeypatch.setattr(mirror, "tell", lambda *_event, **_facts: None)


async def left(scene: Any, state: RunState = RunState.CANCELLED) -> list[Any]:
    async with scene.database.read() as session:
        return [row.id for row in await unaccounted_runs(session, state, within=DAY, limit=9)]


async def counts(scene: Any, run: RunRef) -> dict[str, int]:
    async with scene.database.read() as session:
        row = await find_run(session, str(run.id))
    return {state: count for state, count in row.counts.items() if count}


@pytest.mark.parametrize(
    ("outcome", "becomes"),
    [(LATER, "cancelled"), (UNSENT, "cancelled"), (SENT, "sent")],
    ids=["refused for now", "not sent", "sent"],
)
async def test_what_comes_back_after_a_cancel_was_cancelled(
    scene: Any, outcome: Outcome, becomes: str
) -> None:
    """One on the wire when the run is cancelled; its sender tells later, and the counts follow."""
    run = await scene.run("a@example.com", "b@example.com", flow_run_id=uuid4())
    lease, ids = await scene.claim(run, limit=1)
    [(address, key)] = ids.items()
    await scene.ledger.intend(run, lease, [key])

    assert await cancel_run(scene.database, run, reason="not now") == 1
    assert await counts(scene, run) == {"sending": 1, "cancelled": 1, "total": 2}
    assert await account_again(scene.database, scene.ledger, run) == 0
    assert await left(scene) == [run.id]

    await scene.settle(run, lease, key, outcome)
    assert await account_again(scene.database, scene.ledger, run) == (becomes == "cancelled")

    assert (await scene.states(run))[address] == becomes
    expected = {"cancelled": 2} if becomes == "cancelled" else {"cancelled": 1, "sent": 1}
    assert await counts(scene, run) == {**expected, "total": 2}
    assert await left(scene) == []
    await scene.check(run)


async def test_runs_that_go_on_are_not_asked_for(scene: Any) -> None:
    """Nor those that ended otherwise."""
    run = await scene.run("a@example.com", flow_run_id=uuid4())
    await scene.claim(run)

    assert await left(scene) == []
